/* SPDX-License-Identifier: MIT
 *
 * Leases that began without the lock: they are read, decided on and ended like any other.
 */
#include "hit_stage.h"

static void a_lease_that_no_lock_saw_must_be_known_all_the_same(void)
{
    kp_lease_about about;
    kp_lease lease;

    hit_stand(2, (kp_options){ .limits.max_live = 2 });
    HIT_SHORT(lease = hit_take_asking(K, KP_ASK(.tag = "who")));
    assert_true(kp_lease_read(&lease, &about));
    assert_true(about.reused && !about.doomed);
    assert_string_equal(about.tag, "who");
    assert_int_equal(about.key.size, 1);
    assert_memory_equal(about.key.data, "k", 2);
    assert_in_range(about.lent_ms, 0, 60000);
    assert_in_range(about.age_ms, 0, 60000);
    assert_in_range(about.times_lent, 2, hit.gets);
    hit_give(&lease);
    assert_false(kp_lease_read(&lease, &about));
}

/* As if its thread had lost its processor between the claim and the note of who it is, and the lane
 * was shut in that moment. */
static void a_borrower_must_be_known_however_late_it_notes_who_it_is(void)
{
    kp_lease_about about;
    kp_lease none;
    char text[500];
    kp_why why;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    kp_lease lease = hit_take_asking(K, KP_ASK(.tag = "before"));
    hit_give(&lease);
    HIT_SHORT(lease = hit_take_asking(K, KP_ASK(.tag = "who")));
    struct kp__cell *cell = kp__cell_at((uint32_t)lease.opaque[2]);
    assert_non_null(cell);
    atomic_store(&cell->tag, "before");
    assert_int_equal(hit_stats(K).lent, 1);
    atomic_store(&cell->tag, "who");
    assert_true(kp_lease_read(&lease, &about));
    assert_string_equal(about.tag, "who");
    (void)kp_explain(hit.pool, K, text, sizeof text);
    assert_non_null(strstr(text, "to who"));
    kp_ask soon = { .within_ms = 1, .why = &why };
    assert_int_equal(kp_get(hit.pool, K, &soon, &none), KP_ETIMEDOUT);
    assert_string_equal(why.oldest_tag, "who");
    hit_give(&lease);
}

static void what_was_lent_again_and_again_must_be_counted_every_time(void)
{
    kp_lease_about about;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    kp_lease lease = hit_take(K);
    assert_true(kp_lease_read(&lease, &about));
    assert_int_equal(about.times_lent, hit.gets);
    assert_int_equal(hit_stats(K).gets, hit.gets);
    hit_give(&lease);
}

/* It is a lease of the same right: whichever of the two ends it, the other has ended. */
static void a_resource_must_lead_to_the_lease_that_no_lock_saw(void)
{
    kp_lease_about about;
    kp_lease again;

    kp_lease lease = hit_one_of(2);
    assert_int_equal(kp_lease_of(hit.pool, lease.resource, &again), 0);
    assert_memory_equal(&again, &lease, sizeof lease);
    hit_warm(K);
    hit_give(&again);
    assert_false(kp_lease_read(&lease, &about));
    assert_int_equal(kp_lease_of(hit.pool, &hit.item[0], &again), KP_ENOTFOUND);
    assert_int_equal(kp_lease_of(hit.pool, &hit.item[1], &again), KP_ENOTFOUND);
    lease.resource = NULL;
}

static void a_borrower_that_does_not_want_it_kept_must_be_heard(void)
{
    kp_lease lease = hit_one_of(2);
    struct item *item = lease.resource;
    kp_lease_reuse(&lease, false);
    hit_warm(K); /* the other one's releases open the lane again, without this one */
    hit_give(&lease);
    assert_int_equal(item->destroyed, 1);
    assert_int_equal(hit_stats(K).live, 1);
    lease = hit_take(K);
    kp_lease_reuse(&lease, false);
    kp_lease_reuse(&lease, true); /* the last word counts */
    item = lease.resource;
    hit_give(&lease);
    assert_int_equal(item->destroyed, 0);
}

static void what_is_discarded_must_be_destroyed_and_make_room_at_once(void)
{
    kp_lease lease = hit_one_of(1);
    struct item *item = lease.resource;
    kp_discard(&lease);
    assert_null(lease.resource);
    assert_int_equal(item->destroyed, 1);
    lease = hit_take(K);
    assert_ptr_not_equal(lease.resource, item);
    hit_give(&lease);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.gets, hit.gets);
    assert_int_equal(s.hits, hit.gets - 2);
    assert_int_equal(s.invalidated, 1);
    assert_int_equal(s.destroys, 1);
}

static void failures_in_use_must_open_the_circuit_through_an_open_lane(void)
{
    kp_lease lease;

    hit_stand(1, (kp_options){ .limits = { .breaker_failures = 2,
                                       .breaker_counts = KP_BREAK_USE } });
    for (int i = 0; i < 2; i++) {
        hit_warm(K);
        lease = hit_take(K);
        kp_lease_report(&lease, -1);
        hit_give(&lease);
    }
    hit_refused(hit.pool, K, KP_ASK(.within_ms = KP_NONE), KP_EBREAKER);
    assert_int_equal(hit.events[KP_EVENT_BREAKER_OPENED], 1);
}

/* ---- by other ways --------------------------------------------------------------------------- */

static void a_scope_must_hold_what_no_lock_saw(void)
{
    kp_scope scope = { { 0 } };
    kp_lease a, b;

    hit_stand(3, (kp_options){ .limits.max_live = 3 });
    HIT_SHORT(assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &a), 0);
              assert_int_equal(kp_scope_get(&scope, hit.pool, K, NULL, &b), 0));
    assert_ptr_not_equal(a.resource, b.resource);
    kp_release(&a); /* the scope does not mind */
    kp_scope_close(&scope);
    assert_int_equal(hit.misuses, 0);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.idle, 3);
    assert_int_equal(s.gets, hit.gets + 2);
}

static int use_it(kp_lease *lease, void *arg)
{
    int *times = arg;

    assert_non_null(lease->resource);
    return ++*times == 3 ? -5 : 0;
}

static void a_use_must_give_back_what_no_lock_saw(void)
{
    kp_plan destroys = { .on_error = KP_DESTROY };
    int times = 0;

    hit_stand(1, (kp_options){ .limits.max_live = 1 });
    for (int i = 0; i < 2; i++) assert_int_equal(kp_use(hit.pool, K, NULL, use_it, &times), 0);
    assert_int_equal(kp_use(hit.pool, K, &destroys, use_it, &times), -5);
    assert_int_equal(hit.gone, 1);
    kp_stats s = hit_stats(K);
    assert_int_equal(s.live, 0);
    assert_int_equal(s.gets, hit.gets + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(a_lease_that_no_lock_saw_must_be_known_all_the_same),
        HIT_TEST(a_borrower_must_be_known_however_late_it_notes_who_it_is),
        HIT_TEST(what_was_lent_again_and_again_must_be_counted_every_time),
        HIT_TEST(a_resource_must_lead_to_the_lease_that_no_lock_saw),
        HIT_TEST(a_borrower_that_does_not_want_it_kept_must_be_heard),
        HIT_TEST(what_is_discarded_must_be_destroyed_and_make_room_at_once),
        HIT_TEST(failures_in_use_must_open_the_circuit_through_an_open_lane),
        HIT_TEST(a_scope_must_hold_what_no_lock_saw),
        HIT_TEST(a_use_must_give_back_what_no_lock_saw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
