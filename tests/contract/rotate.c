/* SPDX-License-Identifier: MIT
 *
 * kp_rotate: all resources of a key go within a period, each replaced first where there is room,
 * and creations from then on are told the new epoch.
 */
#include "renew.h"

/* A driver that notes which epoch each creation is told, and refuses that of one. */
static struct {
    kp_driver real;
    uint64_t refuses, told[64];
    unsigned many;
} notes;

static int create(kp_job *job, void **resource)
{
    notes.told[notes.many++ % 64] = job->epoch;
    if (job->epoch == notes.refuses)
        return kp_job_fail(job, 28000, "password refused"), KP_EREFUSED;
    return notes.real.create(job, resource);
}

static int destroy(kp_job *job, void *resource)
{
    assert_int_equal(job->epoch, 0);
    return notes.real.destroy(job, resource);
}

static kp_options plan(struct house *h, uint64_t seed)
{
    kp_options o = house_plan(h, seed, NULL, &slowly);

    notes.real = o.driver;
    notes.refuses = notes.many = 0;
    o.driver.create = create;
    o.driver.destroy = destroy;
    o.limits.max_live = N;
    o.limits.max_age_ms = KP_HOURS(1);
    o.limits.renew_ahead_ms = 1000;
    return o;
}

static int64_t rotates(struct house *h, int64_t over_ms)
{
    int64_t many = kp_rotate(h->pool, kp_str("db"), over_ms);

    house_check(h);
    return many;
}

static void nobody_must_wait_while_all_is_rotated(void **state)
{
    struct worker w[N];
    struct house h;

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        kp_options o = plan(&h, seed);
        house_open(&h, &o);
        house_stock(&h, "db", N);
        uint64_t waits = house_stats(&h, "db").waits;
        works(&h, w, 20 * (int64_t)seed, 30000 / (20 * (unsigned)seed));
        kp_sim_pass_ms(h.sim, 1234);
        HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(10)), N);
        watch(&h, N + 1, 10000);
        kp_stats s = house_stats(&h, "db");
        HOUSE_IS(&h, s.renewed, N);
        HOUSE_IS(&h, s.live, N);
        HOUSE_IS(&h, s.waits, waits);
        all_got(&h, w);
        house_close(&h);
    }
}


/* ---- when ------------------------------------------------------------------------------------ */

static void all_must_go_evenly_the_least_used_first(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.renew_ahead_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 5); /* the first returned first */
    kp_lease lease = house_get(&h, "db"); /* 5, which came back last */
    HOUSE_IS(&h, house_number(&lease), 5);
    HOUSE_IS(&h, rotates(&h, 1000), 5);
    for (unsigned i = 1; i <= 4; i++) {
        house_pass(&h, 199);
        HOUSE_IS(&h, h.destroyed, i - 1);
        house_pass(&h, 1);
        HOUSE_IS(&h, h.destroyed, i);
        HOUSE_IS(&h, h.destroyed_number[i - 1], i);
    }
    house_pass(&h, 5000);
    HOUSE_IS(&h, h.destroyed, 4); /* nothing is taken from a borrower */
    house_release(&h, &lease);
    HOUSE_IS(&h, h.destroyed, 5);
    HOUSE_IS(&h, house_stats(&h, "db").expired, 5);
    house_close(&h);
}

static void without_a_period_all_must_go_now(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 4);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, rotates(&h, KP_NONE), 4);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 0);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    HOUSE_IS(&h, rotates(&h, KP_NONE), 0);
    house_close(&h);
}

static void a_period_that_is_not_said_must_be_half_a_minute(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.renew_ahead_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    HOUSE_IS(&h, rotates(&h, 0), 1);
    house_pass(&h, 29999);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

static void a_period_without_end_must_leave_each_its_age(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.max_age_ms = KP_MINUTES(5);
    o.limits.age_spread_pct = KP_NONE;
    o.limits.renew_ahead_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    HOUSE_IS(&h, rotates(&h, KP_OFF), 1);
    house_pass(&h, KP_MINUTES(5) - 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    house_close(&h);
}

static void once_more_must_never_put_it_off(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.renew_ahead_ms = KP_OFF;
    house_open(&h, &o);
    house_stock(&h, "db", 2);
    HOUSE_IS(&h, rotates(&h, 1000), 2);
    house_pass(&h, 250);
    HOUSE_IS(&h, rotates(&h, KP_HOURS(1)), 2);
    house_pass(&h, 250);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    HOUSE_IS(&h, rotates(&h, 100), 1);
    house_pass(&h, 100);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 0);
    house_close(&h);
}

static void a_drain_after_the_period_must_say_when_the_last_came_back(void **state)
{
    struct visitor v = { .stay_ms = KP_SECONDS(15) };
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 2);
    visitor_send(&h, &v, "db", 1000);
    int64_t began = kp_sim_now_ms(h.sim);
    HOUSE_IS(&h, rotates(&h, KP_SECONDS(10)), 2);
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), KP_SECONDS(30)), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), began + KP_SECONDS(15));
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, h.destroyed_number[0] + h.destroyed_number[1], 1 + 2);
    HOUSE_IS(&h, house_stats(&h, "db").live, 2);
    house_close(&h);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static void what_is_created_must_be_told_the_epoch(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);
    kp_lease_about about;

    (void)state;
    house_open(&h, &o);
    kp_lease old = house_get(&h, "db");
    HOUSE_IS(&h, rotates(&h, KP_SECONDS(10)), 1);
    kp_lease young = house_get(&h, "db");
    HOUSE_IS(&h, notes.many, 2);
    HOUSE_IS(&h, notes.told[0], 1);
    HOUSE_IS(&h, notes.told[1], 2);
    HOUSE_HAS(&h, kp_lease_read(&old, &about) && about.old);
    HOUSE_HAS(&h, kp_lease_read(&young, &about) && !about.old);
    house_release(&h, &old);
    house_release(&h, &young);
    house_close(&h);
}

static void a_key_that_comes_again_must_not_go_back(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.forget_key_after_ms = KP_NONE;
    house_open(&h, &o);
    house_stock(&h, "db", 1);
    HOUSE_IS(&h, rotates(&h, KP_NONE), 1);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    HOUSE_IS(&h, rotates(&h, KP_NONE), 0); /* nothing is there, but the epoch begins */
    house_stock(&h, "db", 1);
    HOUSE_IS(&h, notes.told[1], 3);
    house_close(&h);
}

static void every_key_must_be_rotated_at_once(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "a", 2);
    house_stock(&h, "b", 1);
    HOUSE_IS(&h, kp_rotate(h.pool, KP_EVERY_KEY, KP_SECONDS(5)), 3);
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, house_stats(&h, NULL).renewed, 3);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 3);
    for (unsigned i = 3; i < notes.many; i++) HOUSE_IS(&h, notes.told[i], 2);
    house_close(&h);
}

static void a_create_of_before_must_be_retired_too(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    kp_lease_about about;
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, CREATE_MS / 2);
    HOUSE_IS(&h, rotates(&h, KP_SECONDS(10)), 0);
    visitor_end(&v);
    kp_lease lease = house_get_within(&h, "db", 1);
    HOUSE_HAS(&h, kp_lease_read(&lease, &about) && about.old);
    house_release(&h, &lease);
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, house_stats(&h, "db").renewed, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_close(&h);
}

static void a_create_of_before_must_go_at_once_if_the_period_is_over(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.age_check = KP_NONE;
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    HOUSE_IS(&h, rotates(&h, KP_NONE), 0);
    visitor_end(&v);
    HOUSE_IS(&h, v.number, 2); /* one of the new */
    HOUSE_IS(&h, h.destroyed, 1);
    HOUSE_IS(&h, h.destroyed_number[0], 1);
    house_close(&h);
}

/* ---- a wrong password ------------------------------------------------------------------------ */

static void refused_credentials_must_leave_the_old_ones_until_they_go(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    o.limits.max_live = 4;
    house_open(&h, &o);
    house_stock(&h, "db", 4);
    notes.refuses = 2;
    HOUSE_IS(&h, rotates(&h, KP_SECONDS(8)), 4);
    for (int s = 0; s < 4; s++) {
        HOUSE_IS(&h, house_stats(&h, "db").idle, 4 - s);
        house_pass(&h, KP_SECONDS(2));
    }
    HOUSE_IS(&h, house_cast(&h).creates, 4);
    HOUSE_IS(&h, notes.many, 5); /* it was tried once */
    HOUSE_IS(&h, house_fails(&h, "db", KP_SECONDS(1)), KP_EREFUSED);
    HOUSE_IS(&h, rotates(&h, 1000), 0); /* the right one */
    kp_lease lease = house_get_within(&h, "db", CREATE_MS);
    house_release(&h, &lease);
    house_close(&h);
}

static void what_refused_the_old_must_not_stop_the_new(void **state)
{
    static const kp_line refused[] = { { .takes_ms = 500, .status = KP_EREFUSED },
                                       { .takes_ms = CREATE_MS, .times = KP_OFF },
                                       { 0 } };
    static const kp_script refusing = { .create = refused };
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &refusing);

    (void)state;
    o.limits.on_create_failure = KP_FAIL_RETRY;
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    HOUSE_IS(&h, rotates(&h, 1000), 0);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    house_close(&h);
}

static void a_circuit_that_is_closed_by_it_must_be_told_as_closed(void **state)
{
    static const kp_line fails[] = { { .status = KP_ECREATE }, { 0 } };
    static const kp_script failing = { .create = fails };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &failing);

    (void)state;
    o.limits.breaker_failures = 1;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", 0), KP_ECREATE);
    HOUSE_IS(&h, house_stats(&h, "db").circuits_open, 1);
    for (int i = 0; i < 2; i++) {
        HOUSE_IS(&h, rotates(&h, KP_NONE), 0);
        HOUSE_IS(&h, house_stats(&h, "db").circuits_open, 0);
        HOUSE_IS(&h, h.seen[KP_EVENT_BREAKER_CLOSED], 1);
    }
    house_close(&h);
}

/* ---- where there is nothing to do ------------------------------------------------------------ */

static void what_cannot_be_rotated_must_be_said(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, kp_rotate(h.pool, KP_KEY(&o), 1000), KP_EMISUSE);
    HOUSE_IS(&h, kp_rotate(NULL, kp_str("db"), 1000), KP_EMISUSE);
    HOUSE_IS(&h, rotates(&h, 1000), 0);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 1), 1);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), 1000), KP_ECLOSED);
    h.ended = true;
    house_exit(&lease);
    kp_release(&lease);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), 1000), KP_ECLOSED);
    house_leave(&h);
}

static void what_is_doomed_already_must_not_count(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), 1);
    HOUSE_IS(&h, rotates(&h, 1000), 0);
    house_pass(&h, 2000);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "db").invalidated, 1);
    house_close(&h);
}

static void a_close_in_the_middle_must_leave_nothing(void **state)
{
    struct house h;

    (void)state;
    for (int64_t at = 0; at < 2000; at += 100) {
        kp_options o = plan(&h, 1);
        house_open(&h, &o);
        house_stock(&h, "db", 5);
        kp_lease lease = house_get(&h, "db");
        HOUSE_IS(&h, rotates(&h, KP_SECONDS(2)), 5);
        house_pass(&h, at);
        (void)kp_pool_close(h.pool, at % 200 ? KP_CLOSE_NOW : KP_CLOSE_DRAIN, 1);
        h.ended = true;
        house_exit(&lease);
        kp_release(&lease);
        kp_sim_pass_ms(h.sim, 3 * CREATE_MS);
        house_leave(&h);
    }
}

static void what_goes_on_must_be_explained(void **state)
{
    struct house h;
    kp_options o = plan(&h, 1);
    char text[500];

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", 3);
    HOUSE_IS(&h, rotates(&h, KP_SECONDS(3)), 3);
    house_pass(&h, 1);
    (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
    assert_non_null(strstr(text, "3 from before kp_rotate"));
    assert_non_null(strstr(text, "1 to be replaced"));
    house_pass(&h, KP_SECONDS(3));
    (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
    assert_null(strstr(text, "before"));
    assert_null(strstr(text, "replaced"));
    house_close(&h);
}

/* Upkeep is late, and nothing else needs the clock: neither if it is idle nor if it comes back, and
 * whatever is said of ages. */
static void what_should_be_gone_must_not_be_lent(void **state)
{
    (void)state;
    for (int way = 0; way < 6; way++) {
        struct house h;
        kp_options o = plan(&h, 1);
        kp_lease lease;
        bool lent = way % 2;
        if (way / 2 == 1) o.limits.age_check = KP_NONE;
        if (way / 2 == 2) o.limits.min_live = 1, o.limits.respects_min = KP_KIND_AGE;
        o.limits.idle_ttl_ms = o.limits.max_age_ms = o.limits.renew_ahead_ms = KP_OFF;
        o.leak_after_ms = KP_OFF;
        o.keep_every_ms = KP_HOURS(1);
        o.hits = KP_HITS_LOCKED;
        house_open(&h, &o);
        house_stock(&h, "db", 1);
        if (lent) lease = house_get(&h, "db");
        HOUSE_IS(&h, rotates(&h, KP_SECONDS(1)), 1);
        house_pass(&h, KP_SECONDS(2));
        if (lent) house_release(&h, &lease);
        if (lent) HOUSE_IS(&h, house_stats(&h, "db").idle, 0);
        lease = house_get(&h, "db");
        HOUSE_IS(&h, house_number(&lease), 2);
        house_release(&h, &lease);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_must_wait_while_all_is_rotated),
        cmocka_unit_test(all_must_go_evenly_the_least_used_first),
        cmocka_unit_test(without_a_period_all_must_go_now),
        cmocka_unit_test(a_period_that_is_not_said_must_be_half_a_minute),
        cmocka_unit_test(a_period_without_end_must_leave_each_its_age),
        cmocka_unit_test(once_more_must_never_put_it_off),
        cmocka_unit_test(a_drain_after_the_period_must_say_when_the_last_came_back),
        cmocka_unit_test(what_is_created_must_be_told_the_epoch),
        cmocka_unit_test(a_key_that_comes_again_must_not_go_back),
        cmocka_unit_test(every_key_must_be_rotated_at_once),
        cmocka_unit_test(a_create_of_before_must_be_retired_too),
        cmocka_unit_test(a_create_of_before_must_go_at_once_if_the_period_is_over),
        cmocka_unit_test(refused_credentials_must_leave_the_old_ones_until_they_go),
        cmocka_unit_test(what_refused_the_old_must_not_stop_the_new),
        cmocka_unit_test(a_circuit_that_is_closed_by_it_must_be_told_as_closed),
        cmocka_unit_test(what_cannot_be_rotated_must_be_said),
        cmocka_unit_test(what_is_doomed_already_must_not_count),
        cmocka_unit_test(a_close_in_the_middle_must_leave_nothing),
        cmocka_unit_test(what_goes_on_must_be_explained),
        cmocka_unit_test(what_should_be_gone_must_not_be_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
