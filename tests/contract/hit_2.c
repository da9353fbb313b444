/* SPDX-License-Identifier: MIT
 *
 * Every function that looks at a key, on one whose lane is open: it finds what there is now, not
 * what the books said when the lane opened; and the lane opens again afterwards.
 */
#include "contract/hit.h"

#define K kp_str("k")

/* ---- counters and texts ---------------------------------------------------------------------- */

static void counters_must_say_what_was_lent_without_the_lock(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(3, (kp_options){ 0 });
    const kp_key keys[] = { K, KP_EVERY_KEY };
    for (int i = 0; i < 2; i++) {
        hit_warm(K);
        kp_stats s = hit_stats(keys[i]);
        assert_int_equal(s.lent, 1);
        assert_int_equal(s.idle, 2);
        assert_int_equal(s.gets, hit.gets);
        assert_int_equal(s.hits, hit.gets - 3);
    }
    hit_warm(K);
    HIT_SHORT(hit_give(&lease));
    assert_int_equal(hit_stats(K).idle, 3);
}

static int look(kp_key key, const kp_stats *s, void *arg)
{
    uint64_t *lent = arg;

    assert_int_equal(key.size, 1);
    assert_int_equal(s->live, 2);
    assert_int_equal(s->lent + s->idle, 2);
    *lent = *lent * 10 + s->lent;
    return 0;
}

static void each_key_must_be_shown_as_it_is_now(void **state)
{
    static const char *const names[] = { "a", "b", "c" };
    kp_lease lease[3];
    uint64_t lent = 0;

    (void)state;
    hit_open((kp_options){ 0 });
    for (int i = 0; i < 3; i++) hit_stock(kp_str(names[i]), 2);
    HIT_SHORT(lease[0] = hit_take(kp_str("a")); lease[1] = hit_take(kp_str("c"));
              lease[2] = hit_take(kp_str("c")));
    assert_int_equal(kp_each_key(hit.pool, look, &lent), 0);
    assert_int_equal(lent, 102);
    for (int i = 0; i < 3; i++) hit_give(&lease[i]);
}

static void the_text_must_say_who_holds_what_was_lent_without_the_lock(void **state)
{
    char text[2000];
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ 0 });
    hit_stock(K, 1);
    HIT_SHORT(assert_int_equal(kp_get(hit.pool, K, KP_ASK(.tag = "who"), &lease), 0));
    assert_true(kp_explain(hit.pool, K, text, sizeof text) < sizeof text);
    assert_non_null(strstr(text, "lent for 0 ms to who"));
    assert_non_null(strstr(text, "idle 0, lent 1"));
    kp_release(&lease);
    hit_warm(K);
    assert_true(kp_explain(hit.pool, KP_EVERY_KEY, text, sizeof text) < sizeof text);
    assert_non_null(strstr(text, "idle 1, lent 0"));
    assert_null(strstr(text, "who"));
}

static void who_cannot_be_served_must_be_told_who_holds_it(void **state)
{
    kp_lease lease, other;
    kp_why why;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(K, 1);
    HIT_SHORT(assert_int_equal(kp_get(hit.pool, K, KP_ASK(.tag = "who"), &lease), 0));
    assert_int_equal(kp_get(hit.pool, K, KP_ASK(.within_ms = KP_NONE, .why = &why), &other),
                     KP_EAGAIN);
    assert_string_equal(why.oldest_tag, "who");
    assert_in_range(why.oldest_lent_ms, 0, 60000);
    kp_release(&lease);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void a_lease_that_no_lock_saw_must_be_known_all_the_same(void **state)
{
    kp_lease_about about;
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 2 });
    hit_stock(K, 2);
    HIT_SHORT(assert_int_equal(kp_get(hit.pool, K, KP_ASK(.tag = "who"), &lease), 0));
    assert_true(kp_lease_read(&lease, &about));
    assert_true(about.reused && !about.doomed);
    assert_string_equal(about.tag, "who");
    assert_int_equal(about.key.size, 1);
    assert_memory_equal(about.key.data, "k", 2);
    assert_in_range(about.lent_ms, 0, 60000);
    assert_in_range(about.age_ms, 0, 60000);
    assert_in_range(about.times_lent, 2, hit.gets + 1);
    kp_release(&lease);
    assert_false(kp_lease_read(&lease, &about));
}

static void what_was_lent_again_and_again_must_be_counted_every_time(void **state)
{
    kp_lease_about about;

    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(K, 1);
    kp_lease lease = hit_take(K);
    assert_true(kp_lease_read(&lease, &about));
    assert_int_equal(about.times_lent, hit.gets);
    assert_int_equal(hit_stats(K).gets, hit.gets);
    hit_give(&lease);
}

/* It is a lease of the same right: whichever of the two ends it, the other has ended. */
static void a_resource_must_lead_to_the_lease_that_no_lock_saw(void **state)
{
    kp_lease_about about;
    kp_lease again;

    (void)state;
    kp_lease lease = hit_one_of(2, (kp_options){ 0 });
    assert_int_equal(kp_lease_of(hit.pool, lease.resource, &again), 0);
    assert_memory_equal(&again, &lease, sizeof lease);
    hit_warm(K);
    hit_give(&again);
    assert_false(kp_lease_read(&lease, &about));
    assert_int_equal(kp_lease_of(hit.pool, &hit.item[0], &again), KP_ENOTFOUND);
    assert_int_equal(kp_lease_of(hit.pool, &hit.item[1], &again), KP_ENOTFOUND);
    lease.resource = NULL;
}

static void a_borrower_that_does_not_want_it_kept_must_be_heard(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(2, (kp_options){ 0 });
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

static void what_is_discarded_must_be_destroyed_and_make_room_at_once(void **state)
{
    (void)state;
    kp_lease lease = hit_one_of(1, (kp_options){ 0 });
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

static void failures_in_use_must_open_the_circuit_through_an_open_lane(void **state)
{
    kp_lease lease;

    (void)state;
    hit_open((kp_options){ .limits = { .breaker_failures = 2,
                                       .breaker_counts = KP_BREAK_USE } });
    hit_stock(K, 1);
    for (int i = 0; i < 2; i++) {
        hit_warm(K);
        lease = hit_take(K);
        kp_lease_report(&lease, -1);
        hit_give(&lease);
    }
    assert_int_equal(kp_get(hit.pool, K, KP_ASK(.within_ms = KP_NONE), &lease), KP_EBREAKER);
    assert_int_equal(hit.events[KP_EVENT_BREAKER_OPENED], 1);
}

/* ---- invalidate ------------------------------------------------------------------------------ */

static void an_idle_one_must_be_invalidated_by_its_address(void **state)
{
    (void)state;
    hit_open((kp_options){ .limits.max_live = 1 });
    hit_stock(K, 1);
    assert_int_equal(kp_invalidate(hit.pool, &hit.item[0]), 1);
    assert_int_equal(hit.item[0].destroyed, 1);
    assert_int_equal(kp_invalidate(hit.pool, &hit.item[0]), 0);
    kp_lease lease = hit_take(K);
    assert_ptr_equal(lease.resource, &hit.item[1]);
    hit_give(&lease);
}

static void a_lent_one_must_be_invalidated_by_its_address(void **state)
{
    kp_lease_about about;

    (void)state;
    kp_lease lease = hit_one_of(2, (kp_options){ 0 });
    struct item *item = lease.resource;
    assert_int_equal(kp_invalidate(hit.pool, item), 1);
    assert_int_equal(kp_invalidate(hit.pool, item), 0);
    assert_int_equal(item->destroyed, 0);
    hit_warm(K);
    assert_true(kp_lease_read(&lease, &about) && about.doomed);
    hit_warm(K); /* without the doomed one */
    hit_give(&lease);
    assert_int_equal(item->destroyed, 1);
}

static void all_of_a_key_must_be_invalidated_lent_or_idle(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        kp_lease lease = hit_one_of(3, (kp_options){ 0 });
        struct item *item = lease.resource;
        assert_int_equal(kp_invalidate_key(hit.pool, i ? KP_EVERY_KEY : K), 3);
        assert_int_equal(item->destroyed, 0);
        assert_int_equal(hit.gone, 2 + 3 * i);
        hit_give(&lease);
        assert_int_equal(item->destroyed, 1);
        kp_stats s = hit_stats(K);
        assert_int_equal(s.live, 0);
        assert_int_equal(s.gets, hit.gets);
        assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, 0), 0);
        hit.pool = NULL;
        hit.gets = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(counters_must_say_what_was_lent_without_the_lock),
        HIT_TEST(each_key_must_be_shown_as_it_is_now),
        HIT_TEST(the_text_must_say_who_holds_what_was_lent_without_the_lock),
        HIT_TEST(who_cannot_be_served_must_be_told_who_holds_it),
        HIT_TEST(a_lease_that_no_lock_saw_must_be_known_all_the_same),
        HIT_TEST(what_was_lent_again_and_again_must_be_counted_every_time),
        HIT_TEST(a_resource_must_lead_to_the_lease_that_no_lock_saw),
        HIT_TEST(a_borrower_that_does_not_want_it_kept_must_be_heard),
        HIT_TEST(what_is_discarded_must_be_destroyed_and_make_room_at_once),
        HIT_TEST(failures_in_use_must_open_the_circuit_through_an_open_lane),
        HIT_TEST(an_idle_one_must_be_invalidated_by_its_address),
        HIT_TEST(a_lent_one_must_be_invalidated_by_its_address),
        HIT_TEST(all_of_a_key_must_be_invalidated_lent_or_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
