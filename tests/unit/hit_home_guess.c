/* SPDX-License-Identifier: MIT
 *
 * Guesses that lead to a cell with a home, and releases that give a cell a home: what is claimed by
 * mistake goes back, no thread waits for the lock to give a home, and what is not a lease does not
 * give one.
 */
#include "core/guide.h"
#include "flow/hit.h"
#include "hit_homes.h"

#if KP__SEQUENCES
static uint64_t hash(kp_key key)
{
    return kp__quick_hash(atomic_load(&hit.pool->quick_seed), key.data, key.size);
}

static void a_key_that_leads_to_anothers_home_must_be_lent_its_own(void)
{
    static const char *const others[] = { "l", "a key of sixteen" };

    for (int i = 0; i < 2; i++) {
        kp_key other = kp_str(others[i]);
        kp_lease lease;
        hit_open((kp_options){ 0 });
        hit_stock(K, 1);
        hit_stock(other, 1);
        void *resource = bring_home_by(other, 0);
        struct kp__guide *guide = atomic_load(&hit.pool->guide);
        kp__guide_enter(guide, hash(K), kp__guide_find(guide, hash(other)));
        HIT_LONG(lease = hit_take_asking(K, NULL));
        assert_ptr_not_equal(lease.resource, resource);
        hit_give(&lease);
        assert_false(view_of(resource).word & KP__WORD_LENT);
        assert_int_equal(hit_stats(KP_EVERY_KEY).gets, hit.gets);
        hit_again();
    }
}

/* Nor does it get a home: it ends where it is. */
static void who_seeks_a_home_must_not_wait_for_the_lock(void)
{
    kp_lease lease = { 0 };
    void *resource;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    assert_true(pin_to(0));
    do {
        if (lease.resource) hit_give(&lease);
        lease = hit_take(K);
    } while ((lease.opaque[1] & KP__NOT_SEEKING) || !(lease.opaque[1] >> KP__WORD_BITS));
    resource = lease.resource;
    (void)lock();
    hit_give(&lease);
    unlock();
    assert_int_equal(view_of(resource).word & KP__WORD_STATE, KP__WORD_IDLE);
    assert_no_home(resource, false);
    assert_all_back(1);
}

/* A number of a line that is never used, and of no pool. */
static void what_is_no_lease_must_get_no_home(void)
{
    kp_lease lease, none;

    hit_stand(1, (kp_options){ 0 });
    lease = hit_take(K);
    none = lease;
    none.opaque[0] = none.opaque[1] = 0;
    none.opaque[2] = kp__lease_of_cell(0);
    kp_release(&none);
    assert_int_equal(hit.misuses, 1);
    hit.misuses = 0;
    hit_give(&lease);
    assert_all_back(1);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#if KP__SEQUENCES
        HOME_TEST(a_key_that_leads_to_anothers_home_must_be_lent_its_own),
        HOME_TEST(who_seeks_a_home_must_not_wait_for_the_lock),
        HOME_TEST(what_is_no_lease_must_get_no_home),
#else
        HOME_TEST(none),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
