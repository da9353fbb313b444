/* SPDX-License-Identifier: MIT
 *
 * Leases that began without the lock, and are revoked: what is known of them, and that none is
 * given back over a lane while driver.revoke runs. On the real clock: the deadline of kp_pool_close
 * is "at once", and the age of a lease is only looked at as text.
 */
#include "hit_stage.h"

static kp_job *pending;
static atomic_int revokes;

static int revoke_later(kp_job *job, void *resource)
{
    (void)resource;
    pending = job;
    revokes++;
    return KP_PENDING;
}

static void open_it(int n)
{
    revokes = 0;
    hit_open((kp_options){ .driver = { .revoke = revoke_later }, .limits = { .max_live = 4 } });
    hit_stock(K, n);
}

/* From now on what is lent is due after 30 ms; then no lane opens for so short a term. */
static void wait_for_the_revoke(void)
{
    hit_set((kp_limits){ .revoke_after_ms = 30 });
    while (revokes == 0) (void)kp_keep(hit.pool);
    hit_set((kp_limits){ .revoke_after_ms = KP_OFF });
}

/* A lease whose lane was open when it began. */
static kp_lease short_take(const kp_ask *ask)
{
    kp_lease lease;

    HIT_SHORT(lease = hit_take_asking(K, ask));
    return lease;
}

static void what_is_being_revoked_must_not_come_back_over_a_lane(void)
{
    open_it(2);
    kp_lease old = short_take(NULL), other;
    wait_for_the_revoke();
    hit_use(K);
    for (int i = 0; i < 5000 && !hit_is_open(); i++) hit_use(K);
    assert_true(hit_is_open());
    struct item *its = hit_item(&old);
    hit_give(&old);
    other = hit_take(K);
    assert_ptr_not_equal(hit_item(&other), its);
    assert_int_equal(its->destroyed, 0);
    kp_job_done(pending, 0, NULL);
    assert_int_equal(its->destroyed, 1);
    assert_int_equal(hit_stats(K).revokes, 0);
    hit_give(&other);
}

static void a_hit_must_be_revoked_no_earlier_than_it_is_due(void)
{
    open_it(1);
    uint64_t before = kp_now_ns(hit.pool);
    kp_lease lease = short_take(NULL);
    wait_for_the_revoke();
    assert_true(kp_now_ns(hit.pool) - before >= 30000000);
    kp_job_done(pending, 0, NULL);
    assert_int_equal(hit_stats(K).revoked, 1);
    hit_give(&lease); /* by a number that names a cell */
    assert_int_equal(hit_stats(K).revoked, 0);
    assert_int_equal(hit.misuses, 0);
}

/* Its thread is not known: it was not recorded. */
static void of_a_hit_its_tag_and_its_place_must_be_known(void)
{
    char text[400];
    kp_lease none;
    kp_why why;
    kp_ask once = { .within_ms = 1, .why = &why };

    hit_open((kp_options){ .limits = { .max_live = 1 } });
    hit_stock(K, 1);
    kp_lease lease = short_take(KP_ASK(.tag = "swift"));
    (void)kp_explain(hit.pool, K, text, sizeof text);
    assert_non_null(strstr(text, " ms to swift, got at 0x"));
    assert_int_equal(kp_get(hit.pool, K, &once, &none), KP_ETIMEDOUT);
    assert_non_null(strstr(why.text, " ms by swift"));
    assert_null(strstr(why.text, "thread"));
    hit_give(&lease);
}

static void at_the_close_hits_must_be_revoked_too(void)
{
    open_it(1);
    kp_lease lease = short_take(NULL);
    assert_int_equal(kp_pool_close(hit.pool, KP_CLOSE_WAIT, KP_NONE), 1);
    assert_int_equal(revokes, 1);
    kp_job_done(pending, 0, NULL);
    hit_give(&lease);
    hit.pool = NULL;
    assert_int_equal(hit.made, hit.gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIT_TEST(what_is_being_revoked_must_not_come_back_over_a_lane),
        HIT_TEST(a_hit_must_be_revoked_no_earlier_than_it_is_due),
        HIT_TEST(of_a_hit_its_tag_and_its_place_must_be_known),
        HIT_TEST(at_the_close_hits_must_be_revoked_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
