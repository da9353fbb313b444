/* SPDX-License-Identifier: MIT
 *
 * Restartable sequences (base/home.h), played. Each thread is on one of a few processors: its
 * number says on which, until the search moves it, which it does seldom and where a sequence or its
 * choice of a home begins.
 *
 * A sequence that is held up begins again, and its loads before that changed nothing. So what it
 * does in the end it does while nobody else is in a sequence on its processor: an attempt that was
 * given up is as good as none, and the sequence as good as begun after those that held it up. To be
 * moved away is to begin elsewhere. Therefore a processor is played as a lock, that a sequence has
 * from its begin to its end, and that kp__sequences_end takes and gives back once, one processor
 * after the other: that is the moment at which the kernel interrupts it. Who comes next there sees
 * what those before him saw, for a change of threads, and such an interrupt, order all; beyond that
 * kp__sequences_end is played to order nothing, as base/home.h promises nothing else.
 *
 * Threads on other processors go on between all steps of a sequence, and those on the same one
 * between them too, as long as they do not begin one. Every step is one at one place, and taking
 * such a lock is like taking any: the reduction (reduce.c) holds as it is. That a budget limits the
 * moves changes nothing: which of them are made does not depend on who goes first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/home.h"
#include "engine.h"

enum { PROCESSORS = 2 };

static uint32_t processor[PROCESSORS]; /* their addresses are places */
static int count;                      /* 0: no word has a home */
static struct state {
    int moves; /* of threads, that are left in this execution */
    uint8_t at[EX_THREADS + 1];
} s;

void ex_processors(int n, int moves)
{
    const char *all = getenv("KP_HOMES"); /* in every scenario */

    count = n ? n : all ? atoi(all) : 0;
    if (count > PROCESSORS) ex_fail("the explorer has %d processors", PROCESSORS);
    s.moves = n ? moves : 1;
    for (int t = 0; t <= EX_THREADS && count; t++) s.at[t] = (uint8_t)(t % count);
    ex_keep(&s, sizeof s);
}

/* Where words have homes, lanes are open. */
char *ex_getenv(const char *name);
char *ex_getenv(const char *name)
{
    static char everywhere[] = "2";

    return count && strcmp(name, "KP_LANES") == 0 ? everywhere : getenv(name);
}

/* The processor we are on, after we were moved or not. */
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
