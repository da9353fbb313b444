/* SPDX-License-Identifier: MIT
 *
 * Revoking, by driver.revoke, what a borrower has had for too long (limits.revoke_after_ms): the
 * same event gives its place to the request that waits; it is destroyed once, when its borrower
 * ends the lease; and a borrower that does so meanwhile is never overtaken. revoke_close.c has the
 * end of a pool.
 */
#include "house.h"

static const kp_line at_once[] = { { .times = KP_OFF }, { 0 } };
static const kp_line slowly[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
static const kp_line never[] = { { .status = -5, .text = "it has no handle", .times = KP_OFF },
                                 { 0 } };

static kp_options plan(struct house *h, const kp_line *revoke, int64_t max_live)
{
    const kp_script script = { .revoke = revoke };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.limits.max_live = max_live;
    o.limits.revoke_after_ms = KP_SECONDS(5);
    o.leak_after_ms = KP_OFF;
    return o;
}

static void open_it(struct house *h, const kp_line *revoke, int64_t max_live)
{
    kp_options o = plan(h, revoke, max_live);

    house_open(h, &o);
}

static bool is_revoked(const kp_lease *lease)
{
    kp_lease_about about;

    assert_true(kp_lease_read(lease, &about));
    assert_true(!about.revoked || about.doomed);
    return about.revoked;
}

/* ---- the place ------------------------------------------------------------------------------- */

static void who_waits_must_be_served_by_the_revoke_itself(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;

    (void)state;
    open_it(&h, at_once, 1);
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, KP_SECONDS(5) - 1);
    assert_false(is_revoked(&lease));
    house_pass(&h, 1);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, KP_SECONDS(5));
    assert_true(is_revoked(&lease));
    HOUSE_IS(&h, house_stats(&h, "db").revoked, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1);
    HOUSE_IS(&h, house_stats(&h, "db").leases, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).revokes, 1);
    HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED], 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 0); /* the borrower may be using it */
    house_release(&h, &lease);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).revoked, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 0);
    house_close(&h);
}

/* By budget.max_live, and by limits over all leases. */
static void its_place_over_all_keys_must_be_free_too(void **state)
{
    (void)state;
    for (int lent = 0; lent < 2; lent++) {
        struct visitor v = { .stay_ms = KP_NONE };
        struct house h;
        kp_options o = plan(&h, at_once, 3);
        *(lent ? &o.budget.max_lent : &o.budget.max_live) = 1;
        house_open(&h, &o);
        kp_lease lease = house_get(&h, "a");
        visitor_send(&h, &v, "b", KP_SECONDS(30));
        house_pass(&h, KP_SECONDS(5));
        HOUSE_IS(&h, v.answered_ms, KP_SECONDS(5));
        HOUSE_IS(&h, v.rc, 0);
        house_release(&h, &lease);
        house_close(&h);
    }
}

/* Else a program that loses all it gets would lose without end. */
static void no_more_must_be_out_than_may_be_live(void **state)
{
    struct house h;
    kp_lease lost[6];

    (void)state;
    open_it(&h, at_once, 2);
    for (int i = 0; i < 2; i++) lost[i] = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(5));
    for (int i = 2; i < 4; i++) lost[i] = house_get(&h, "db");
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, house_stats(&h, "db").revoked, 2);
    HOUSE_IS(&h, house_stats(&h, "db").lent, 2);
    house_release(&h, &lost[1]);
    house_pass(&h, KP_SECONDS(1)); /* it is looked at again */
    HOUSE_IS(&h, house_stats(&h, "db").revoked, 2);
    HOUSE_IS(&h, house_stats(&h, "db").lent, 1);
    HOUSE_IS(&h, house_stats(&h, "db").revokes, 3);
    for (int i = 0; i < 4; i++) house_release(&h, &lost[i]);
    house_close(&h);
}

static void over_all_keys_no_more_must_be_out_than_may_be_live(void **state)
{
    struct house h;
    kp_lease lost[2];
    kp_options o = plan(&h, at_once, 3);

    (void)state;
    o.budget.max_live = 1;
    house_open(&h, &o);
    lost[0] = house_get(&h, "a");
    house_pass(&h, KP_SECONDS(5));
    lost[1] = house_get(&h, "b");
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, house_stats(&h, NULL).revokes, 1);
    house_release(&h, &lost[0]);
    house_pass(&h, KP_SECONDS(1));
    HOUSE_IS(&h, house_stats(&h, NULL).revokes, 2);
    house_release(&h, &lost[1]);
    house_close(&h);
}

/* A minimum is kept up, and the key stays until the last one came back. */
static void its_key_must_be_refilled_and_not_be_forgotten(void **state)
{
    struct house h;
    kp_options o = plan(&h, at_once, 2);

    (void)state;
    o.limits.min_live = 1;
    o.limits.refill = KP_REFILL_EAGER;
    o.forget_key_after_ms = KP_SECONDS(1);
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, house_stats(&h, "db").revoked, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_pass(&h, KP_SECONDS(60));
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_release(&h, &lease);
    house_pass(&h, KP_SECONDS(2));
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    house_close(&h);
}

/* A key has not gone while a resource of it is out. */
static void a_drop_of_its_key_must_wait_for_it(void **state)
{
    struct visitor v = { .stay_ms = KP_SECONDS(6) };
    struct house h;

    (void)state;
    open_it(&h, at_once, 1);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, house_stats(&h, "db").revoked, 1);
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("db"), 300), 1);
    HOUSE_IS(&h, kp_drop(h.pool, KP_EVERY_KEY, 300), 1);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(5) + 600);
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("db"), KP_SECONDS(9)), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(6));
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    visitor_end(&v);
    house_close(&h);
}

/* ---- its lease ------------------------------------------------------------------------------- */

static void who_has_only_the_resource_must_be_able_to_end_it(void **state)
{
    struct house h;
    kp_lease found;

    (void)state;
    open_it(&h, at_once, 1);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, kp_invalidate(h.pool, lease.resource), 0);
    HOUSE_IS(&h, kp_add(h.pool, kp_str("db"), lease.resource), KP_EMISUSE);
    HOUSE_IS(&h, kp_lease_of(h.pool, lease.resource, &found), 0);
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), KP_SECONDS(9)), 0); /* of what is of use */
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), KP_SECONDS(5));
    house_exit(&found);
    kp_discard(&found);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    HOUSE_IS(&h, house_stats(&h, "db").invalidated, 1);
    kp_release(&lease); /* the other copy */
    HOUSE_IS(&h, house_stats(&h, NULL).misuses, 2);
    house_close(&h);
}

static void whoever_gives_it_back_meanwhile_must_have_it_destroyed_and_not_lent(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct visitor v = { .stay_ms = KP_NONE };
        struct house h;
        const kp_line refused[] = { { .takes_ms = 1000, .status = -5, .times = KP_OFF }, { 0 } };
        bool discards = how & 1, refuses = how & 2;
        open_it(&h, refuses ? refused : slowly, 1);
        kp_lease lease = house_get(&h, "db"), copy = lease;
        visitor_send(&h, &v, "db", KP_SECONDS(30));
        house_pass(&h, KP_SECONDS(5) + 500);
        if (discards) house_discard(&h, &lease);
        else house_release(&h, &lease);
        HOUSE_IS(&h, house_stats(&h, "db").lent, 1);
        kp_release(&copy);
        HOUSE_IS(&h, house_stats(&h, NULL).misuses, 1);
        HOUSE_IS(&h, house_cast(&h).destroys, 0);
        house_pass(&h, 500);
        HOUSE_IS(&h, house_cast(&h).destroys, 1);
        HOUSE_IS(&h, v.answered_ms, KP_SECONDS(6));
        HOUSE_IS(&h, v.number, 2);
        HOUSE_IS(&h, house_stats(&h, "db").revokes, 0);
        HOUSE_IS(&h, house_stats(&h, "db").revoke_failures, 0);
        HOUSE_IS(&h, house_stats(&h, "db").invalidated, discards);
        HOUSE_IS(&h, h.seen[KP_EVENT_REVOKED] + h.seen[KP_EVENT_REVOKE_FAILED], 0);
        house_close(&h);
    }
}

static void one_that_is_answered_late_must_keep_its_place_until_then(void **state)
{
    struct visitor v = { .stay_ms = KP_NONE };
    struct house h;

    (void)state;
    open_it(&h, slowly, 1);
    kp_lease lease = house_get(&h, "db");
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, KP_SECONDS(5) + 999);
    HOUSE_HAS(&h, !v.answered);
    assert_false(is_revoked(&lease));
    house_pass(&h, 1);
    HOUSE_IS(&h, v.answered_ms, KP_SECONDS(6));
    assert_true(is_revoked(&lease));
    house_release(&h, &lease);
    house_close(&h);
}

static void one_that_fails_must_be_told_and_change_nothing(void **state)
{
    struct house h;

    (void)state;
    open_it(&h, never, 1);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_MINUTES(10));
    HOUSE_IS(&h, h.seen[KP_EVENT_REVOKE_FAILED], 1);
    HOUSE_IS(&h, h.last_code[KP_EVENT_REVOKE_FAILED], -5);
    assert_string_equal(h.last_text, "it has no handle");
    HOUSE_IS(&h, house_stats(&h, "db").revoke_failures, 1);
    HOUSE_IS(&h, house_stats(&h, "db").lent, 1);
    HOUSE_IS(&h, house_cast(&h).revokes, 1);
    assert_false(is_revoked(&lease));
    house_release(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    lease = house_get(&h, "db"); /* this is another one */
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, house_cast(&h).revokes, 2);
    house_release(&h, &lease);
    house_close(&h);
}

static void one_that_is_being_reset_must_be_left_alone(void **state)
{
    const kp_line reset[] = { { .takes_ms = 3000 }, { 0 } };
    struct visitor v = { .stay_ms = KP_SECONDS(4) };
    const kp_script script = { .revoke = at_once, .reset = reset };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.limits.max_live = 1;
    o.limits.revoke_after_ms = KP_SECONDS(5);
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, KP_SECONDS(8));
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    house_close(&h);
}

/* ---- when ------------------------------------------------------------------------------------ */

static void limits_that_come_later_must_reach_what_is_lent(void **state)
{
    const kp_limits later = { .revoke_after_ms = KP_SECONDS(5) };
    const kp_limits again = { .revoke_after_ms = KP_OFF };
    struct house h;
    kp_options o = plan(&h, at_once, 1);

    (void)state;
    o.limits.revoke_after_ms = 0;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(60));
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("db"), &later, NULL), 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("db"), &again, NULL), 0);
    house_pass(&h, KP_SECONDS(60));
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("db"), &later, NULL), 0);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_cast(&h).revokes, 1);
    house_release(&h, &lease);
    house_close(&h);
}

/* When it began, nothing needed the clock. */
static void a_limit_that_comes_later_must_hold_for_a_lease_of_unknown_age(void **state)
{
    struct house h;
    const kp_limits later = { .revoke_after_ms = KP_SECONDS(5) };
    kp_options o = plan(&h, at_once, 1);

    (void)state;
    o.hits = KP_HITS_LOCKED;
    o.limits.idle_ttl_ms = o.limits.max_age_ms = o.limits.revoke_after_ms = KP_OFF;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    house_pass(&h, KP_SECONDS(10));
    lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("db"), &later, NULL), 0);
    house_pass(&h, KP_SECONDS(5) - 1);
    HOUSE_IS(&h, house_cast(&h).revokes, 0);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_cast(&h).revokes, 1);
    assert_true(is_revoked(&lease));
    house_release(&h, &lease);
    house_close(&h);
}

static const kp_event *told;
static kp_event copy;
static char text_then[1000];

static void keep_it(struct house *h, const kp_event *event)
{
    if (event->kind != KP_EVENT_LEAK && event->kind != KP_EVENT_REVOKED) return;
    copy = *event;
    told = &copy;
    (void)kp_explain(h->pool, event->key, text_then, sizeof text_then);
}

static void it_must_be_told_who_had_it_and_how_long(void **state)
{
    char text[400];
    struct house h;
    kp_options o = plan(&h, at_once, 1);

    (void)state;
    o.leak_after_ms = KP_SECONDS(5); /* both at the same time: first the leak */
    house_open(&h, &o);
    h.also = keep_it;
    kp_lease lease = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(5));
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 1);
    assert_int_equal(told->kind, KP_EVENT_REVOKED);
    assert_int_equal(told->lent_ms, KP_SECONDS(5));
    assert_string_equal(told->tag, "house");
    assert_non_null(told->site);
    assert_int_not_equal(told->thread, 0);
    assert_int_equal(told->stack_count, 0);
    snprintf(text, sizeof text, "revoked, and lent for 5000 ms to house, thread %u, got at %p",
             (unsigned)told->thread, told->site);
    assert_non_null(strstr(text_then, text));
    assert_non_null(strstr(text_then, "waiting 0, revoked 1"));
    house_release(&h, &lease);
    house_close(&h);
}

static void where_nobody_listens_it_must_be_done_all_the_same(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct house h;
        kp_options o = plan(&h, fails ? never : at_once, 1);
        o.on_event = NULL;
        o.leak_after_ms = 1000;
        house_open(&h, &o);
        kp_lease lease = house_get(&h, "db");
        house_pass(&h, KP_SECONDS(5));
        HOUSE_IS(&h, house_stats(&h, "db").leaks, 1);
        HOUSE_IS(&h, house_stats(&h, "db").revokes, !fails);
        HOUSE_IS(&h, house_stats(&h, "db").revoke_failures, fails);
        house_release(&h, &lease);
        house_close(&h);
    }
}

/* There is memory for 64 that are under way at once. */
static void one_for_which_there_is_no_memory_must_be_done_later(void **state)
{
    enum { MANY = 65 };
    struct house h;
    kp_lease lease[MANY];
    kp_options o = plan(&h, slowly, MANY);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < MANY; i++) lease[i] = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(5) - 1);
    kp_sim_fail_alloc(h.sim, 1, true);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_cast(&h).revokes, MANY - 1);
    house_pass(&h, 999);
    kp_sim_fail_alloc(h.sim, 0, false);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_cast(&h).revokes, MANY);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_stats(&h, "db").revoked, MANY);
    for (int i = 0; i < MANY; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

static void more_than_there_is_memory_for_must_be_done_where_there_is_more(void **state)
{
    enum { MANY = 65 };
    struct house h;
    kp_lease lease[MANY];
    kp_options o = plan(&h, slowly, MANY);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < MANY; i++) lease[i] = house_get(&h, "db");
    house_pass(&h, KP_SECONDS(6));
    HOUSE_IS(&h, house_stats(&h, "db").revoked, MANY);
    for (int i = 0; i < MANY; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

static void what_contradicts_itself_must_be_refused(void **state)
{
    const kp_limits later = { .revoke_after_ms = 1 };
    struct house h;
    kp_options o = plan(&h, NULL, 1);

    (void)state;
    house_refuses(&h, &o, "limits.revoke_after_ms"); /* no driver.revoke */
    o.limits.revoke_after_ms = KP_OFF;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("db"), &later, &h.why), KP_ECONFIG);
    assert_string_equal(h.why.field, "limits.revoke_after_ms");
    house_release(&h, &lease);
    house_close(&h);
    o = plan(&h, at_once, 1);
    o.limits.sharing = 2;
    house_refuses(&h, &o, "limits.revoke_after_ms");
    house_leave(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_must_be_served_by_the_revoke_itself),
        cmocka_unit_test(its_place_over_all_keys_must_be_free_too),
        cmocka_unit_test(no_more_must_be_out_than_may_be_live),
        cmocka_unit_test(over_all_keys_no_more_must_be_out_than_may_be_live),
        cmocka_unit_test(its_key_must_be_refilled_and_not_be_forgotten),
        cmocka_unit_test(a_drop_of_its_key_must_wait_for_it),
        cmocka_unit_test(who_has_only_the_resource_must_be_able_to_end_it),
        cmocka_unit_test(whoever_gives_it_back_meanwhile_must_have_it_destroyed_and_not_lent),
        cmocka_unit_test(one_that_is_answered_late_must_keep_its_place_until_then),
        cmocka_unit_test(one_that_fails_must_be_told_and_change_nothing),
        cmocka_unit_test(one_that_is_being_reset_must_be_left_alone),
        cmocka_unit_test(limits_that_come_later_must_reach_what_is_lent),
        cmocka_unit_test(a_limit_that_comes_later_must_hold_for_a_lease_of_unknown_age),
        cmocka_unit_test(it_must_be_told_who_had_it_and_how_long),
        cmocka_unit_test(where_nobody_listens_it_must_be_done_all_the_same),
        cmocka_unit_test(one_for_which_there_is_no_memory_must_be_done_later),
        cmocka_unit_test(more_than_there_is_memory_for_must_be_done_where_there_is_more),
        cmocka_unit_test(what_contradicts_itself_must_be_refused),
    };
    return cmocka_run_group_tests_name("revoke", tests, NULL, NULL);
}
