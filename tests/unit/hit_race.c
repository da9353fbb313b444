/* SPDX-License-Identifier: MIT
 *
 * Two threads at one word in the same instant: the one that looked first and swaps second gets
 * nothing. It is tried until it has happened, which is certain to come. The other thread writes
 * only idle words, so a thread that finds one and fails was overtaken.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/core.h"
#include "flow/flow.h"
#include "keyedpool.h"

#include "flow/hit.h"

static struct kp__cell cell;
static atomic_bool over;

static void *give_back(void *arg)
{
    uint64_t word = KP__WORD_IDLE;

    while (!atomic_load(&over)) atomic_store(&cell.word, word += KP__WORD_NEXT);
    return arg;
}

static bool in_any_way(struct kp__cell *of, uint64_t *lent)
{
    return kp__swing_out(of, lent);
}

static bool without_a_home(struct kp__cell *of, uint64_t *lent)
{
    return kp__swing_out_anywhere(of, lent);
}

static void overtaken(bool (*swing_out)(struct kp__cell *, uint64_t *))
{
    uint64_t lent, times = 0;
    pthread_t other;

    atomic_store(&over, false);
    assert_int_equal(pthread_create(&other, NULL, give_back, NULL), 0);
    do {
        while (!(atomic_load(&cell.word) & KP__WORD_IDLE)) continue;
        times++;
    } while (swing_out(&cell, &lent));
    atomic_store(&over, true);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_true(atomic_load(&cell.word) & KP__WORD_IDLE);
    print_message("overtaken at time %ju\n", (uintmax_t)times);
}

static void who_is_overtaken_between_look_and_swing_must_get_nothing(void **state)
{
    (void)state;
    overtaken(in_any_way);
    overtaken(without_a_home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_overtaken_between_look_and_swing_must_get_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
