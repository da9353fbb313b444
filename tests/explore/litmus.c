/* SPDX-License-Identifier: MIT
 *
 * Tests of the explorer itself, compiled like the library: small programs whose outcomes are known.
 * First those that must pass, then the canaries, in which the explorer must find the error: if it
 * does not, the run fails.
 */
#include <limits.h>
#include <stdatomic.h>

#include "base/home.h"
#include "base/lock.h"
#include "explore.h"
#include "scenarios.h"

static struct room {
    _Atomic uint32_t x, y, word;
    uint32_t seen[2], plain;
    struct kp__lock lock[2];
    kp__home home;
    _Atomic uint64_t cell;
} r;

static struct kp__world w;

static void begin(void)
{
    r = (struct room){ .plain = 0 };
    w = (struct kp__world){ .park = ex_world->park, .wake = ex_world->wake };
    ex_processors(2, 1);
}

static void begin_together(void)
{
    begin();
    ex_processors(1, 0);
}

static void nothing(void)
{
}

/* ---- store buffering: each stores its own, and loads the other's ----------------------------- */

static void buffering(int self, memory_order store, memory_order load)
{
    atomic_store_explicit(self ? &r.y : &r.x, 1, store);
    r.seen[self] = atomic_load_explicit(self ? &r.x : &r.y, load);
}

static void buffering_seq(int self)
{
    buffering(self, memory_order_seq_cst, memory_order_seq_cst);
}

static void buffering_weak(int self)
{
    buffering(self, memory_order_release, memory_order_acquire);
}

static void one_must_see(void)
{
    if (!r.seen[0] && !r.seen[1]) ex_fail("litmus: neither saw the other's store");
}

/* ---- publication: plain data, then a flag ---------------------------------------------------- */

static void publish(int self, memory_order store, memory_order load)
{
    if (self == 0) {
        r.plain = 7;
        atomic_store_explicit(&r.x, 1, store);
    } else if (atomic_load_explicit(&r.x, load) && r.plain != 7) {
        ex_fail("litmus: the flag was seen without the data");
    }
}

static void publish_release(int self)
{
    publish(self, memory_order_release, memory_order_acquire);
}

static void publish_relaxed(int self)
{
    publish(self, memory_order_relaxed, memory_order_acquire);
}

/* A value passed on through a third thread: release sequences and transitivity. */
static void pass_on(int self)
{
    if (self == 0) {
        r.plain = 7;
        atomic_store_explicit(&r.x, 1, memory_order_release);
    } else if (self == 1) {
        if (atomic_load_explicit(&r.x, memory_order_acquire))
            atomic_store_explicit(&r.y, 1, memory_order_release);
    } else if (atomic_load_explicit(&r.y, memory_order_acquire) && r.plain != 7) {
        ex_fail("litmus: not transitive");
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

static void add_one(int self)
{
    (void)self;
    atomic_fetch_add_explicit(&r.x, 1, memory_order_relaxed);
}

static void add_one_badly(int self)
{
    (void)self;
    uint32_t now = atomic_load_explicit(&r.x, memory_order_seq_cst);
    atomic_store_explicit(&r.x, now + 1, memory_order_seq_cst);
}

static void three(void)
{
    if (r.x != 3) ex_fail("litmus: an addition was lost");
}

/* ---- sleeping: publish, wake; sleep unless published ----------------------------------------- */

static void sleep_until_said(int self)
{
    if (self == 1) {
        atomic_store_explicit(&r.word, 1, memory_order_release);
        ex_world->wake((uint32_t *)(void *)&r.word, 1, NULL);
        return;
    }
    while (atomic_load_explicit(&r.word, memory_order_acquire) == 0)
        ex_world->park((uint32_t *)(void *)&r.word, 0, UINT64_MAX, NULL);
}

/* It sleeps on a word other than the one that it has looked at. */
static void sleep_blindly(int self)
{
    if (self == 1) {
        atomic_store_explicit(&r.x, 1, memory_order_seq_cst);
        ex_world->wake((uint32_t *)(void *)&r.word, 1, NULL);
        return;
    }
    if (atomic_load_explicit(&r.x, memory_order_seq_cst) == 0)
        ex_world->park((uint32_t *)(void *)&r.word, 0, UINT64_MAX, NULL);
}

/* ---- locks ----------------------------------------------------------------------------------- */

static void count_locked(int self)
{
    (void)self;
    kp__lock_take(&r.lock[0], &w);
    r.plain++;
    kp__lock_give(&r.lock[0], &w);
}

static void count_twice(int self)
{
    count_locked(self);
    count_locked(self);
}

static void two_counted(void)
{
    if (r.plain != 2) ex_fail("litmus: the lock lost a count");
}

static void three_counted(void)
{
    if (r.plain != 3) ex_fail("litmus: the lock lost a count");
}

static void four_counted(void)
{
    if (r.plain != 4) ex_fail("litmus: the lock lost a count");
}

static void cross(int self)
{
    kp__lock_take(&r.lock[self], &w);
    kp__lock_take(&r.lock[!self], &w);
    kp__lock_give(&r.lock[!self], &w);
    kp__lock_give(&r.lock[self], &w);
}

/* ---- sequences: 0 is idle, 1 lent; home is processor 0, which all but thread 1 are on -------- */

static void borrow_at_home(int self)
{
    (void)self;
    if (!kp__swing_at_home(&r.home, &r.cell, 0, 1)) return;
    r.plain++;
    (void)kp__swing_at_home(&r.home, &r.cell, 1, 0);
}

static void add_at_home(int self)
{
    (void)self;
    for (uint64_t n = 0; !kp__swing_at_home(&r.home, &r.cell, n, n + 1);) n++;
}

static void three_at_home(void)
{
    if (r.cell != 3) ex_fail("litmus: a sequence was not one step");
}

/* Thread 1 takes the home away, and with it the word; it adds 10 to the word. */
static void take(int self, bool end)
{
    if (self != 1) {
        if (kp__swing_at_home(&r.home, &r.cell, 0, 1)) r.seen[0] = 1;
        return;
    }
    atomic_store_explicit(&r.home, KP__NO_HOME, memory_order_relaxed);
    if (end) kp__sequences_end();
    uint64_t now = atomic_load_explicit(&r.cell, memory_order_relaxed);
    atomic_store_explicit(&r.cell, now + 10, memory_order_relaxed);
}

static void take_home(int self)
{
    take(self, true);
}

static void take_home_badly(int self)
{
    take(self, false);
}

static void all_counted(void)
{
    if (r.cell != 10 + r.seen[0]) ex_fail("litmus: two wrote a word that has a home");
}

/* A canary: that the thread is at home when it looks does not make the rest a sequence. */
static void add_here(int self)
{
    (void)self;
    if (kp__home_here() != atomic_load_explicit(&r.home, memory_order_relaxed)) return;
    uint64_t now = atomic_load_explicit(&r.cell, memory_order_relaxed);
    atomic_store_explicit(&r.cell, now + 1, memory_order_relaxed);
}

#define PROGRAM(text, n, fn, after)                                                                \
    {                                                                                              \
        .name = text, .threads = n, .setup = begin, .thread = fn, .finish = after                  \
    }

#define TOGETHER(text, fn, after)                                                                  \
    {                                                                                              \
        .name = text, .threads = 3, .setup = begin_together, .thread = fn, .finish = after         \
    }

const struct ex_program litmus_programs[] = {
    PROGRAM("litmus: store buffering, seq_cst", 2, buffering_seq, one_must_see),
    PROGRAM("litmus: publication by release and acquire", 2, publish_release, nothing),
    PROGRAM("litmus: publication through a third", 3, pass_on, nothing),
    PROGRAM("litmus: three relaxed additions", 3, add_one, three),
    PROGRAM("litmus: sleep until said", 2, sleep_until_said, nothing),
    PROGRAM("litmus: a lock of the model", 3, count_locked, three_counted),
    TOGETHER("litmus: three sequences on a processor", add_at_home, three_at_home),
    PROGRAM("litmus: borrowed at home", 3, borrow_at_home, nothing),
    PROGRAM("litmus: a home is taken", 2, take_home, all_counted),
    PROGRAM("litmus: a home is taken from two", 3, take_home, all_counted),
    PROGRAM("lock: base/lock.c, 2 threads", 2, count_locked, two_counted),
    PROGRAM("lock: base/lock.c, 2 threads, twice", 2, count_twice, four_counted),
    PROGRAM("lock: base/lock.c, 3 threads", 3, count_locked, three_counted),
    PROGRAM("canary: store buffering, release and acquire (weak)", 2, buffering_weak, one_must_see),
    PROGRAM("canary: publication without release (weak)", 2, publish_relaxed, nothing),
    PROGRAM("canary: an addition in two steps", 3, add_one_badly, three),
    PROGRAM("canary: sleep on the wrong word", 2, sleep_blindly, nothing),
    PROGRAM("canary: two locks in two orders", 2, cross, nothing),
    PROGRAM("canary: a home is taken, and no sequence ended", 2, take_home_badly, all_counted),
    TOGETHER("canary: no sequence, but at home", add_here, three_at_home),
};

const int litmus_lock = 10, litmus_bad = 13;
const int litmus_count = sizeof litmus_programs / sizeof *litmus_programs;
