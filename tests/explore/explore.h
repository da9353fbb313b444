/* SPDX-License-Identifier: MIT
 *
 * What scenarios and the simulated driver see of the explorer. The same calls exist on real threads
 * (real.c), where points are nothing, and choices are 0.
 */
#ifndef KP_EXPLORE_EXPLORE_H
#define KP_EXPLORE_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keyedpool.h"

enum { EX_THREADS = 8 };

/* A small program of threads, run many times. */
struct ex_program {
    const char *name;
    int threads, daemons; /* the last `daemons` may stay behind in ex_await */
    void (*setup)(void);
    void (*thread)(int self);
    bool (*stuck)(void);  /* nobody can go on: false if that is wrong (or ex_fail); true: it did
                             something about it */
    void (*finish)(void); /* all have ended: close, and look at the sums */
};

int ex_self(void); /* EX_THREADS: set-up, stuck, finish */
bool ex_is_real(void);
int ex_memory_left(void);
bool ex_is_live(void); /* threads run, rather than set-up, stuck or finish */
bool ex_holds_lock(void);

_Noreturn void ex_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ex_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What came out, for the set of outcomes that --outcomes counts. */
void ex_result(int what);

/* Ghosts: what the checks know. Each call is a point. Between the ups and the downs of one counter
 * the search tries both orders where it can. */
void ex_up(void *what);
void ex_down(void *what);
void ex_say(uint32_t *flag, uint32_t value);
uint32_t ex_hear(uint32_t *flag);
bool ex_claim(uint32_t *flag);       /* set it: true for who was first */
int ex_add(int *counter, int by);    /* what it is then. No point */
void ex_publish(uint32_t *flag);     /* say 1, and hand over all that was done before ... */
bool ex_await(const uint32_t *flag); /* ... to who waits for it; false: only daemons are left */

/* The use of a resource, as plain memory: two users at a time are a data race. */
void ex_use(void *payload, bool write);
void ex_overwrite(void *at, size_t size);

/* Memory for good, zeroed, where plain accesses are looked after. In the first set-up only. */
void *ex_room(size_t size);

/* Sleep until an event loop's descriptor is readable, at most ms (-1: for ever). */
void ex_poll(int fd, int64_t ms);
void ex_ring(int fd); /* wake who does; by stuck */
bool ex_alone(int thread); /* have all others ended, but for daemons? */

/* Shall something fail here? One decision of the search, within its budget of faults. */
bool ex_fault(const char *site);
bool ex_may_fault(void); /* is there such a budget? */

void ex_pass_ms(int64_t ms); /* the clock moves: a point */
uint64_t ex_now_ms(void);    /* what it says: no point */

/* Memory of the scenario's own: each execution begins with it as set-up left it. */
void ex_keep(void *at, size_t size);

/* Words may have homes (core/home.c), on one of so many processors (at most 2; 0: they have none),
 * which threads are spread over; `moves` of them to another one in each execution. In set-up. */
void ex_processors(int n, int moves);

extern const kp_world *const ex_world; /* NULL on real threads: life */

/* Due time that the pool announced last (UINT64_MAX: none). */
uint64_t ex_due(void);

#endif
