/* SPDX-License-Identifier: MIT
 *
 * The same scenarios on real threads, for ThreadSanitizer: explore-real ROUNDS [TEXT] plays each
 * whose name contains TEXT ROUNDS times. Points do nothing here, and ghosts are relaxed atomics:
 * they must not order what the library does not order.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenarios.h"

static _Thread_local int self = EX_THREADS; /* also on threads that the program did not start */
static pthread_barrier_t start;
static const struct ex_program *program;
static bool live;
static int players, over; /* threads, daemons not counted; those of them that have ended */

const kp_world *const ex_world = NULL;

/* ---- explore.h ------------------------------------------------------------------------------- */

void ex_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "FAILED %s\n  ", program->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

int ex_self(void)
{
    return self;
}

bool ex_is_real(void)
{
    return true;
}

bool ex_is_live(void)
{
    return live;
}

int ex_memory_left(void)
{
    return 0;
}

bool ex_holds_lock(void)
{
    return false;
}

void ex_note(const char *format, ...)
{
    (void)format;
}

void ex_result(int what)
{
    (void)what;
}

void ex_up(void *what)
{
    (void)what;
}

void ex_down(void *what)
{
    (void)what;
}

void ex_say(uint32_t *flag, uint32_t value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
}

uint32_t ex_hear(uint32_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

bool ex_claim(uint32_t *flag)
{
    return __atomic_exchange_n(flag, 1, __ATOMIC_RELAXED) == 0;
}

int ex_add(int *counter, int by)
{
    return __atomic_add_fetch(counter, by, __ATOMIC_RELAXED);
}

void ex_publish(uint32_t *flag)
{
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
}

bool ex_await(const uint32_t *flag)
{
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) == 0) {
        if (!live || __atomic_load_n(&over, __ATOMIC_ACQUIRE) >= players) return false;
        (void)sched_yield();
    }
    return true;
}

void ex_use(void *payload, bool write)
{
    volatile uint32_t *p = payload;
    uint32_t seen = *p;

    if (write) *p = seen + 1;
}

void ex_overwrite(void *at, size_t size)
{
    memset(at, 0xa5, size);
}

void *ex_room(size_t size)
{
    return calloc(1, size);
}

void ex_poll(int fd, int64_t ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    (void)poll(&p, 1, (int)ms);
}

void ex_ring(int fd)
{
    (void)fd;
}

bool ex_alone(int thread)
{
    (void)thread;
    return __atomic_load_n(&over, __ATOMIC_ACQUIRE) >= players - 1;
}

bool ex_fault(const char *site)
{
    (void)site;
    return false;
}

bool ex_may_fault(void)
{
    return false;
}

void ex_pass_ms(int64_t ms)
{
    (void)ms;
}

uint64_t ex_now_ms(void)
{
    return 0;
}

void ex_processors(int n, int moves) /* the machine's real ones are used */
{
    (void)n;
    (void)moves;
}

void ex_keep(void *at, size_t size)
{
    (void)at;
    (void)size;
}

uint64_t ex_due(void)
{
    return UINT64_MAX;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void *run(void *number)
{
    self = (int)(intptr_t)number;
    (void)pthread_barrier_wait(&start);
    program->thread(self);
    if (self < players) (void)__atomic_add_fetch(&over, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

/* Does a thread of the scenario give back what main holds? If not, main does. */
static bool threads_return(const struct scenario *s)
{
    for (int t = 0; t < s->threads; t++)
        if (strpbrk(s->body[t], "RDEFHh")) return true;
    return false;
}

static void play(const struct scenario *s)
{
    pthread_t thread[EX_THREADS];

    program = scenario_play(s);
    program->setup();
    if (pthread_barrier_init(&start, NULL, (unsigned)s->threads + 1) != 0) abort();
    players = s->threads - s->daemons;
    over = 0;
    live = true;
    for (int t = 0; t < s->threads; t++)
        if (pthread_create(&thread[t], NULL, run, (void *)(intptr_t)t) != 0) abort();
    (void)pthread_barrier_wait(&start);
    if (!threads_return(s)) cast_release_main(false);
    for (int t = 0; t < s->threads; t++) (void)pthread_join(thread[t], NULL);
    live = false;
    (void)pthread_barrier_destroy(&start);
    program->finish();
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1, played = 0;
    const char *only = argc > 2 ? argv[2] : "";
    int scenarios = 0;

    for (int i = 0; i < scenario_count(); i++) {
        const struct scenario *s = scenario_at(i);
        if (s->program || s->faults || s->group == CANARY) continue;
        if (s->daemons && s->stage.keeper) continue; /* a daemon may still be in the pool then */
        if (!strstr(s->name, only)) continue;
        scenarios++;
        for (long r = 0; r < rounds; r++, played++) play(s);
    }
    printf("%d scenarios on real threads, %ld rounds\n", scenarios, played);
    return scenarios == 0;
}
