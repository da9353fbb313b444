/* SPDX-License-Identifier: MIT
 *
 * Restartable sequences (base/home.h), simulated. Each thread is on one of a few processors: the
 * number of the thread determines which one, until the search moves it. The search does so seldom,
 * and only where a sequence, or its choice of a home, begins.
 *
 * A sequence that is interrupted begins again, and its loads before that changed nothing. So an
 * attempt that was given up has no effect, and the attempt that succeeds runs while no other thread
 * is in a sequence on its processor: as if it had begun only after those that interrupted it. A
 * thread that is moved begins its sequence again on the other processor. Therefore a processor is
 * simulated as a lock: a sequence holds it from begin to end, and kp__sequences_end takes it and
 * gives it back once, one processor after the other: that is the moment at which the kernel
 * interrupts that processor. The next holder of the lock sees what the earlier ones saw, because a
 * switch between threads orders all memory accesses, and so does such an interrupt. Apart from that
 * kp__sequences_end orders nothing here, because base/home.h promises no more.
 *
 * Threads on other processors may run between any two steps of a sequence; so may threads on the
 * same processor, until they begin a sequence of their own. Every step is at one place, and taking
 * such a lock is like taking any other: the reduction (reduce.c) is valid without a change. The
 * limit on the number of moves does not affect it: which moves are made does not depend on which
 * thread goes first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/home.h"
#include "engine.h"

enum { PROCESSORS = 2 };

static uint32_t processor[PROCESSORS]; /* the locks; only their addresses are used, as places */
static int count;                      /* 0: no word has a home */
static struct state {
    int moves; /* of threads; how many are left in this execution */
    uint8_t at[EX_THREADS + 1];
} s;

void ex_processors(int n, int moves)
{
    const char *all = getenv("KP_HOMES"); /* homes in every scenario */

    count = n ? n : all ? atoi(all) : 0;
    if (count > PROCESSORS) ex_fail("the explorer has %d processors", PROCESSORS);
    s.moves = n ? moves : 1;
    for (int t = 0; t <= EX_THREADS && count; t++) s.at[t] = (uint8_t)(t % count);
    ex_keep(&s, sizeof s);
}

/* A scenario whose words have homes needs open lanes. */
char *ex_getenv(const char *name);
char *ex_getenv(const char *name)
{
    static char everywhere[] = "2";

    return count && strcmp(name, "KP_LANES") == 0 ? everywhere : getenv(name);
}

/* The running thread's processor, after the search has decided whether to move it. */
static uint8_t here(void)
{
    uint8_t *at = &s.at[ex.cur];

    if (ex.live && s.moves > 0 && count > 1 && ex_choose(2, 24)) {
        s.moves--;
        *at = (uint8_t)(1 - *at);
        ex_note("moved to processor %d", *at);
    }
    return *at;
}

/* ---- what base/home.h promises --------------------------------------------------------------- */

bool kp__sequences_begin(void)
{
    return count > 0;
}

uint16_t kp__home_here(void)
{
    return here();
}

void kp__sequences_end(void)
{
    for (int p = 0; p < count && ex.live; p++) {
        ex_hold(&processor[p]);
        ex_note("sequences end on processor %d", p);
        ex_let_go(&processor[p]);
    }
}

static bool sequence(const kp__home *home, uint8_t at, _Atomic uint64_t *word, uint64_t expected,
                     uint64_t to, void *pc)
{
    if (ex_atomic_load((void *)(uintptr_t)home, sizeof *home, memory_order_acquire, pc) != at ||
        ex_atomic_load(word, sizeof *word, memory_order_acquire, pc) != expected)
        return false;
    ex_atomic_store(word, sizeof *word, to, memory_order_release, pc);
    return true;
}

bool kp__swing_at_home(const kp__home *home, _Atomic uint64_t *word, uint64_t expected, uint64_t to)
{
    uint8_t at = here();

    if (ex.live) ex_hold(&processor[at]);
    bool swung = sequence(home, at, word, expected, to, __builtin_return_address(0));
    if (ex.live) ex_let_go(&processor[at]);
    return swung;
}
