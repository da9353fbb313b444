/* SPDX-License-Identifier: MIT
 *
 * What scenarios and the simulated driver see of the explorer. A point is a place where the
 * explorer may switch threads. The same calls exist on real threads (real.c), where points do
 * nothing and every choice is 0.
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
    int threads, daemons; /* the last `daemons` threads may be left in ex_await at the end */
    void (*setup)(void);
    void (*thread)(int self);
    bool (*stuck)(void);  /* called when no thread can go on. True: it did something so that one
                             can; false: it did nothing. ex_fail: this state is an error */
    void (*finish)(void); /* all threads have ended: close, and check the totals */
};

int ex_self(void); /* the running thread; EX_THREADS in set-up, stuck and finish */
bool ex_is_real(void);
int ex_memory_left(void);
bool ex_is_live(void); /* the threads are running, not set-up, stuck or finish */
bool ex_holds_lock(void);

_Noreturn void ex_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ex_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Part of the result of this execution: --outcomes counts the different results. */
void ex_result(int what);

/* Ghosts: state that only the checks use. Each call is a point unless it says otherwise. The search
 * tries both orders of an up and a down of the same counter. */
void ex_up(void *what);
void ex_down(void *what);
void ex_say(uint32_t *flag, uint32_t value);
uint32_t ex_hear(uint32_t *flag);
bool ex_claim(uint32_t *flag);       /* set it: true for the first to do so */
int ex_add(int *counter, int by);    /* returns the new value. Not a point */
void ex_publish(uint32_t *flag);     /* say 1: all that was done before is visible ... */
bool ex_await(const uint32_t *flag); /* ... to who waits for it; false: only daemons are left */

/* A use of a resource, as an access to plain memory: two users at once are a data race. */
void ex_use(void *payload, bool write);
void ex_overwrite(void *at, size_t size);

/* Permanent memory, zeroed, in which plain accesses are checked. Only in the first set-up. */
void *ex_room(size_t size);

/* Sleep until an event loop's descriptor is readable, at most ms (-1: for ever). */
void ex_poll(int fd, int64_t ms);
void ex_ring(int fd); /* wake the thread that sleeps in ex_poll; called by stuck */
bool ex_alone(int thread); /* have all other threads ended, except daemons? */

/* Should something fail here? A decision of the search, within its budget of faults. */
bool ex_fault(const char *site);
bool ex_may_fault(void); /* is there such a budget? */

void ex_pass_ms(int64_t ms); /* moves the clock: a point */
uint64_t ex_now_ms(void);    /* reads the clock: not a point */

/* Registers variables of the scenario: each execution begins with them as set-up left them. */
void ex_keep(void *at, size_t size);

/* Call in set-up. Words may have homes (core/home.c) on one of n processors (at most 2; 0: words
 * have no homes). The threads are spread over the processors; in each execution the search may move
 * threads to the other processor, at most `moves` times. */
void ex_processors(int n, int moves);

extern const kp_world *const ex_world; /* NULL on real threads: the real world */

/* The due time of its next upkeep that the pool announced last (UINT64_MAX: none). */
uint64_t ex_due(void);

#endif
