/* SPDX-License-Identifier: MIT
 *
 * A process whose pools have no homes, as they say KP_HITS_PORTABLE, or as the system has none to
 * offer: then nothing does what is done at a home, whatever the numbers of a lease say.
 */
#include "hit_stage.h"

enum { NEAR = 2 };

/* What lies where a thread's own memory is counted from, which the C library looks after. */
static void read_own(uintptr_t own[NEAR])
{
#if KP__SEQUENCES
    memcpy(own, __builtin_thread_pointer(), NEAR * sizeof *own);
#else
    memset(own, 0, NEAR * sizeof *own);
#endif
}

static void a_lease_with_any_bit_wrong_must_do_nothing_to_its_thread(void)
{
    kp_lease lease;
    uintptr_t before[NEAR], after[NEAR];

    hit_open((kp_options){ .hits = KP_HITS_PORTABLE });
    hit_warm(K);
    HIT_SHORT(lease = hit_take(K));
    assert_false(lease.opaque[1] & KP__HOMED);
    for (int bit = 0; bit < 192; bit++) {
        kp_lease wrong = lease;
        wrong.opaque[bit / 64] ^= UINT64_C(1) << bit % 64;
        read_own(before);
        kp_release(&wrong);
        read_own(after);
        if (memcmp(before, after, sizeof after) != 0) {
            fprintf(stderr, "bit %d\n", bit); /* no more can be relied on */
            abort();
        }
        assert_int_equal(hit.misuses, bit + 1);
        assert_int_equal(hit_stats(K).lent, 1);
    }
    hit_give(&lease);
    assert_int_equal(hit.misuses, 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_lease_with_any_bit_wrong_must_do_nothing_to_its_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
