/* SPDX-License-Identifier: MIT
 *
 * The pool's world, simulated: a clock that moves when the search chooses that a thread's deadline
 * expires, or when no thread can go on; memory from arenas that are emptied before each execution;
 * sleeping and waking; the pool's lock. Also the functions of the C library that the library calls
 * directly (the build renames those calls): permanent memory, the number of processors, abort and
 * the message before it, and memset and memcpy, which are checked like any plain access.
 */
#include "engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

#define START UINT64_C(1000000000000)
#define SHORT UINT64_C(1000000000) /* a deadline nearer than that may expire at any time */
#define NEVER UINT64_MAX

static struct arena {
    char *base;
    size_t size;
} arenas[EX_THREADS + 1];

static struct state {
    int blocks;
    uint64_t now, due, random[EX_THREADS + 1];
    size_t used[EX_THREADS + 1];
} w;

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t clock_now(void)
{
    if (ex.live) ex_point(EX_LOAD, &w.now);
    return w.now;
}

static void advance_to(uint64_t at)
{
    if (ex.live) ex_point(EX_ADVANCE, &w.now);
    if (at > w.now) w.now = at;
    if (ex.tracing) ex_traced(EX_ADVANCE, &w.now, (w.now - START) / 1000000, NULL);
}

static uint64_t world_now(void *ctx)
{
    (void)ctx;
    return clock_now();
}

void ex_pass_ms(int64_t ms)
{
    advance_to(w.now + (uint64_t)ms * 1000000);
}

uint64_t ex_now_ms(void)
{
    return w.now / 1000000;
}

static void world_upkeep(kp_pool *pool, uint64_t at, void *ctx)
{
    (void)pool;
    (void)ctx;
    w.due = at;
}

uint64_t ex_due(void)
{
    return w.due;
}

/* ---- memory ---------------------------------------------------------------------------------- */

bool ex_fault(const char *site)
{
    if (!ex.live || ex.faults_left == 0 || ex_choose(2, 24) == 0) return false;
    ex.faults_left--;
    ex_note("fault: %s", site);
    return true;
}

bool ex_may_fault(void)
{
    return ex.faults > 0;
}

/* Each thread has an arena: an address depends on what its thread did, not on other threads. */
static void *world_alloc(size_t size, size_t align, void *ctx)
{
    struct arena *a = &arenas[ex.cur];
    size_t at = (w.used[ex.cur] + 16 + align - 1) & ~(align - 1);
    size_t end = (at + size + 15) & ~(size_t)15;

    (void)ctx;
    if (ex_fault("alloc")) return NULL;
    if (end > a->size) ex_fail("the explorer's arena is used up");
    w.used[ex.cur] = end;
    w.blocks++;
    ex_poison(a->base + at, size, false);
    return a->base + at;
}

static void world_free(void *p, size_t size, void *ctx)
{
    (void)ctx;
    w.blocks--;
    ex_poison(p, size, true);
}

int ex_memory_left(void)
{
    return w.blocks + ex_bells_left();
}

static uint64_t world_random(void *ctx)
{
    uint64_t *r = &w.random[ex.cur];

    (void)ctx;
    *r = *r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *r >> 17;
}

/* ---- sleeping and waking --------------------------------------------------------------------- */

/* A sleep in set-up, stuck or finish: nobody else runs, so time passes. */
static void sleep_alone(const uint32_t *word, uint32_t while_it_is, uint64_t until)
{
    if (*(const volatile uint32_t *)word != while_it_is) return;
    if (until == NEVER) ex_fail("%s would sleep for ever", ex.program->name);
    if (until > w.now) w.now = until;
}

static void world_park(uint32_t *word, uint32_t while_it_is, uint64_t until, void *ctx)
{
    struct ex_thread *me = &ex.thread[ex.cur];

    (void)ctx;
    if (me->locks > 0) ex_fail("I11: T%d sleeps with the pool's lock", ex.cur);
    if (!ex.live) {
        sleep_alone(word, while_it_is, until);
        return;
    }
    uint64_t now = until == NEVER ? 0 : clock_now();
    ex_point(EX_PARK, word);
    struct ex_place *place = ex_place(word);
    struct ex_history *h = ex_history(place, sizeof *word);
    /* the kernel compares with the newest value */
    me->view.seen[h->number] = (uint8_t)(h->stores - 1);
    if (ex.tracing) ex_traced(EX_PARK, word, h->store[h->stores - 1].value, NULL);
    if (h->store[h->stores - 1].value != while_it_is || until <= now) return;
    me->may_time_out = until != NEVER && until - now < SHORT;
    if (me->may_time_out && ex_choose(2, 64)) {
        advance_to(until);
        return;
    }
    if (ex_fault("wakes for no reason")) return;
    me->state = EX_PARKED;
    me->word = (uintptr_t)word;
    me->until = until;
    ex_block();
}

static void wake_one(struct ex_thread *sleeper)
{
    if (ex.cur < ex.threads) ex_join(sleeper->clock, ex.thread[ex.cur].clock);
    sleeper->state = EX_WOKEN;
}

static void world_wake(uint32_t *word, int how_many, void *ctx)
{
    int sleepers[EX_THREADS], n = 0;

    (void)ctx;
    if (ex.live) ex_point(EX_WAKE, word);
    for (int t = 0; t < ex.threads; t++)
        if (ex.thread[t].state == EX_PARKED && ex.thread[t].word == (uintptr_t)word)
            sleepers[n++] = t;
    if (ex.live && ex.tracing) ex_traced(EX_WAKE, word, (uint64_t)n, NULL);
    for (; n > 0 && how_many > 0; how_many--) {
        unsigned which = how_many >= n ? 0 : ex_choose((unsigned)n, 128);
        wake_one(&ex.thread[sleepers[which]]);
        sleepers[which] = sleepers[--n];
    }
    if (ex.live) ex_run_woken();
}

/* When a thread's sleep began, the search may have chosen that it does not time out. Then this
 * execution ends as redundant: the search has tried the other choice, or will. */
bool ex_fire_timers(uint64_t within)
{
    int first = -1;

    for (int t = 0; t < ex.threads; t++) {
        const struct ex_thread *thread = &ex.thread[t];
        if (thread->state != EX_PARKED || thread->until == NEVER) continue;
        if (thread->until > w.now && thread->until - w.now > within) continue;
        if (thread->may_time_out && (ex.mode == EX_EXHAUST || ex.mode == EX_BOUND)) {
            ex.outcome = EX_REDUNDANT;
            for (;;) fiber_switch(&ex.thread[ex.cur].fiber, &ex.main);
        }
        if (first < 0 || thread->until < ex.thread[first].until) first = t;
    }
    if (first < 0) return false;
    if (ex.thread[first].until > w.now) w.now = ex.thread[first].until;
    if (ex.tracing) ex_traced(EX_ADVANCE, &w.now, (w.now - START) / 1000000, NULL);
    ex.thread[first].state = EX_WOKEN;
    return true;
}

static const kp_world world = {
    .now_ns = world_now,
    .alloc = world_alloc,
    .free = world_free,
    .random = world_random,
    .park = world_park,
    .wake = world_wake,
    .upkeep = world_upkeep,
};

const kp_world *const ex_world = &world;

size_t ex_arena_used(void)
{
    return w.used[EX_THREADS];
}

static void empty(int t)
{
    ex_poison(arenas[t].base, w.used[t], true);
    w.used[t] = 0;
}

void ex_world_begin(void)
{
    for (int t = 0; t <= EX_THREADS; t++) {
        if (!arenas[t].base) arenas[t].base = ex_arena_of(t, &arenas[t].size);
        empty(t);
        w.random[t] = (uint64_t)t + 1;
    }
    w.blocks = 0;
    w.due = NEVER;
    w.now = START;
    ex_keep(&w, sizeof w);
}

/* The threads' arenas are empty again; what set-up allocated is all there. */
void ex_world_again(void)
{
    static uint8_t *kept;
    static size_t room, size;
    uint8_t *now = ex_poison_of(arenas[EX_THREADS].base);

    if (ex.ready) {
        for (int t = 0; t <= EX_THREADS; t++) empty(t);
        memcpy(now, kept, size);
        return;
    }
    size = w.used[EX_THREADS] / 16 + 1;
    if (size > room) kept = realloc(kept, room = size);
    if (!kept) abort();
    memcpy(kept, now, size);
}

/* ---- the lock -------------------------------------------------------------------------------- */

void ex_real_lock_take(struct kp__lock *l, const struct kp__world *world_of);
void ex_real_lock_give(struct kp__lock *l, const struct kp__world *world_of);

void ex_hold(void *what)
{
    ex_point(EX_TAKE, what);
    struct ex_place *place = ex_place(what);
    place->holder = ex.cur;
    ex_view_join(&ex.thread[ex.cur].view, &place->view);
}

void ex_let_go(void *what)
{
    struct ex_place *place = ex_place(what);

    if (place->holder != ex.cur) ex_fail("T%d gives back a lock that it does not hold", ex.cur);
    place->holder = -1;
    ex_release(&place->view);
    ex_join(place->causes, ex.thread[ex.cur].clock);
}

/* Taking the lock is one step here, possible when it is free, instead of base/lock.c's several
 * steps. Those have scenarios of their own, with ex.real_lock. */
void ex_lock_take(struct kp__lock *l, const struct kp__world *world_of);
void ex_lock_take(struct kp__lock *l, const struct kp__world *world_of)
{
    struct ex_thread *me = &ex.thread[ex.cur];

    if (ex.real_lock) {
        ex_real_lock_take(l, world_of);
    } else if (!ex.live) {
        if (*(volatile uint32_t *)(void *)&l->word) ex_fail("a lock is held while nobody runs");
        *(volatile uint32_t *)(void *)&l->word = 1;
    } else {
        ex_hold(&l->word);
        if (*(volatile uint32_t *)(void *)&l->word) ex_fail("T%d takes a lock twice", ex.cur);
        *(volatile uint32_t *)(void *)&l->word = 1;
        if (ex.tracing) ex_traced(EX_TAKE, l, 0, __builtin_return_address(0));
    }
    me->locks++;
}

void ex_lock_give(struct kp__lock *l, const struct kp__world *world_of);
void ex_lock_give(struct kp__lock *l, const struct kp__world *world_of)
{
    struct ex_thread *me = &ex.thread[ex.cur];

    me->locks--;
    if (ex.real_lock) {
        ex_real_lock_give(l, world_of);
        return;
    }
    *(volatile uint32_t *)(void *)&l->word = 0;
    if (ex.live) ex_let_go(&l->word);
}

/* ---- what the library asks of the C library -------------------------------------------------- */

_Noreturn void ex_abort(void);
void ex_abort(void)
{
    if (ex.why[0] == 0) snprintf(ex.why, sizeof ex.why, "the library called abort");
    char why[sizeof ex.why];
    memcpy(why, ex.why, sizeof why);
    ex_fail("%s", why);
}

int ex_fprintf(FILE *to, const char *format, ...);
int ex_fprintf(FILE *to, const char *format, ...)
{
    va_list args;

    (void)to;
    va_start(args, format);
    int n = vsnprintf(ex.why, sizeof ex.why, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof ex.why && ex.why[n - 1] == '\n') ex.why[n - 1] = 0;
    return n;
}

long ex_sysconf(int name);
long ex_sysconf(int name)
{
    (void)name;
    return 1;
}

int ex_memalign(void **out, size_t align, size_t size);
int ex_memalign(void **out, size_t align, size_t size)
{
    (void)align;
    *out = ex_room(size);
    return 0;
}

void *ex_memset(void *p, int value, size_t size);
void *ex_memset(void *p, int value, size_t size)
{
    if (ex.plain && size) ex_plain(p, size, true, __builtin_return_address(0));
    return memset(p, value, size);
}

void *ex_memcpy(void *to, const void *from, size_t size);
void *ex_memcpy(void *to, const void *from, size_t size)
{
    if (ex.plain && size) {
        ex_plain(from, size, false, __builtin_return_address(0));
        ex_plain(to, size, true, __builtin_return_address(0));
    }
    return memcpy(to, from, size);
}
