/* SPDX-License-Identifier: MIT
 *
 * KP_EGONE and limits.on_gone: what may report that a peer is gone, which resources are in doubt
 * then, and how that ends. tests/regress/r32_*.c has a whole failover.
 */
#include "failover.h"

static struct house *const h = &failover.h;

static void say_gone(kp_lease *lease)
{
    kp_lease_report(lease, KP_EGONE);
    house_check(h);
}

/* Three of one key: the first two are lent, the third is idle, and just used. */
static void begin(kp_options *o, kp_lease lease[2])
{
    house_open(h, o);
    house_stock(h, "db", 3);
    for (int i = 0; i < 2; i++) lease[i] = house_get(h, "db");
}

/* ---- in doubt -------------------------------------------------------------------------------- */

static void what_is_idle_must_be_tested_at_once_though_it_was_just_used(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    HOUSE_IS(h, failover.checks, 0);
    say_gone(&lease[0]);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    HOUSE_IS(h, h->last_code[KP_EVENT_SUSPECT], KP_EGONE);
    HOUSE_HAS(h, failover_is_suspect());
    house_settle(h);
    HOUSE_IS(h, failover.checks, 1); /* by the keeper: it is good */
    HOUSE_HAS(h, failover_is_suspect()); /* the other one that is lent */
    house_release(h, &lease[1]);
    house_settle(h);
    HOUSE_IS(h, failover.checks, 2);
    HOUSE_HAS(h, !failover_is_suspect());
    house_release(h, &lease[0]); /* it goes */
    HOUSE_IS(h, house_stats(h, "db").live, 2);
    HOUSE_IS(h, house_stats(h, "db").invalid, 1);
    house_close(h);
}

static void one_in_doubt_must_be_validated_before_it_is_lent(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2], other;

    (void)state;
    o.threads = KP_NONE; /* no keeper is here */
    o.limits.max_live = 3;
    begin(&o, lease);
    say_gone(&lease[0]);
    HOUSE_IS(h, failover.checks, 0);
    other = house_get(h, "db");
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &other);
    other = house_get(h, "db"); /* it was proven */
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &other);
    house_release(h, &lease[1]);
    HOUSE_HAS(h, failover_is_suspect());
    other = house_get(h, "db"); /* not the one in doubt, though it came back last */
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &other);
    house_release(h, &lease[0]);
    house_close(h);
}

static void a_good_use_must_end_the_doubt(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    say_gone(&lease[0]);
    kp_lease_report(&lease[1], 0);
    house_settle(h);
    HOUSE_HAS(h, !failover_is_suspect());
    house_release(h, &lease[1]);
    house_settle(h);
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &lease[0]);
    house_close(h);
}

static void one_without_others_must_make_nothing_suspect(void **state)
{
    kp_options o = failover_plan(1, NULL);

    (void)state;
    house_open(h, &o);
    kp_lease lease = house_get(h, "db");
    say_gone(&lease);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 0);
    house_release(h, &lease);
    HOUSE_IS(h, house_stats(h, "db").live, 0);
    house_close(h);
}

static void what_is_made_later_must_be_in_no_doubt(void **state)
{
    kp_options o = failover_plan(4, NULL);
    kp_lease lease[2], other;

    (void)state;
    begin(&o, lease);
    failover.dead_first = failover.dead_last = 1; /* the idle one */
    say_gone(&lease[0]);
    house_settle(h);
    other = house_get(h, "db"); /* made beside the test */
    HOUSE_IS(h, house_number(&other), 4);
    house_release(h, &other);
    other = house_get(h, "db");
    HOUSE_IS(h, house_number(&other), 4);
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &other);
    house_pass(h, FAILOVER_TIMEOUT);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    house_close(h);
}

/* ---- the second ------------------------------------------------------------------------------ */

static void the_second_that_is_gone_must_end_the_rest(void **state)
{
    kp_options o = failover_plan(4, NULL);
    kp_lease lease[2], third;

    (void)state;
    o.threads = KP_NONE;
    begin(&o, lease);
    third = house_get_within(h, "db", KP_SECONDS(1));
    house_stock(h, "db", 1); /* the fourth: idle */
    say_gone(&lease[0]);
    say_gone(&lease[1]);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    HOUSE_HAS(h, !failover_is_suspect());
    HOUSE_IS(h, house_stats(h, "db").live, 3); /* what was idle went at once */
    house_release(h, &third);                    /* what is lent, when it comes back */
    HOUSE_IS(h, house_stats(h, "db").live, 2);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    HOUSE_IS(h, house_stats(h, "db").live, 0);
    HOUSE_IS(h, house_stats(h, "db").invalid, 4);
    house_close(h);
}

static void old_news_must_not_concern_what_is_new(void **state)
{
    kp_options o = failover_plan(4, NULL);
    kp_lease lease[2], new_one;

    (void)state;
    o.limits.on_gone = KP_GONE_REPLACE;
    begin(&o, lease);
    say_gone(&lease[0]);
    new_one = house_get(h, "db");
    house_release(h, &new_one);
    say_gone(&lease[1]); /* it was to go already */
    say_gone(&lease[0]); /* said twice */
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    HOUSE_IS(h, house_stats(h, "db").live, 1);
    house_close(h);
}

static void one_that_was_proven_and_is_gone_must_be_news_again(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    say_gone(&lease[0]);
    kp_lease_report(&lease[1], 0);
    house_settle(h);
    say_gone(&lease[1]);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 2);
    house_settle(h);
    HOUSE_IS(h, failover.checks, 2);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    house_close(h);
}

/* ---- who says it ----------------------------------------------------------------------------- */

static void a_reset_must_be_able_to_say_it(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    o.driver.reset = failover_reset;
    begin(&o, lease);
    failover.reset_says = KP_EGONE;
    house_release(h, &lease[0]);
    failover.reset_says = 0;
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    HOUSE_IS(h, h->last_code[KP_EVENT_INVALID], KP_EGONE);
    house_settle(h);
    HOUSE_IS(h, failover.checks, 1);
    house_release(h, &lease[1]); /* a reset proves nothing */
    HOUSE_HAS(h, failover_is_suspect());
    house_settle(h);
    HOUSE_IS(h, failover.checks, 2);
    house_close(h);
}

static int meets_the_timeout(kp_lease *lease, void *arg)
{
    (void)lease;
    return (*(int *)arg)++ == 0 ? KP_EGONE : 0;
}

static void a_use_that_meets_it_must_say_it_and_go_on_with_a_good_one(void **state)
{
    kp_options o = failover_plan(3, NULL);
    int tries = 0;
    kp_plan plan = { .schedule = { .times = 1, .first_ms = KP_NONE } };

    (void)state;
    house_open(h, &o);
    house_stock(h, "db", 3);
    HOUSE_IS(h, kp_use(h->pool, kp_str("db"), &plan, meets_the_timeout, &tries), 0);
    HOUSE_IS(h, tries, 2);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 1);
    HOUSE_IS(h, house_stats(h, "db").invalid + house_stats(h, "db").invalidated, 1);
    house_settle(h);
    HOUSE_HAS(h, !failover_is_suspect());
    house_close(h);
}

static void other_failures_must_make_nothing_suspect(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    kp_lease_report(&lease[0], -5);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 0);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    HOUSE_IS(h, house_stats(h, "db").live, 3);
    house_close(h);
}

static void where_it_is_off_it_must_be_a_failure_like_any_other(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    o.limits.on_gone = KP_OFF;
    begin(&o, lease);
    say_gone(&lease[0]);
    HOUSE_IS(h, h->seen[KP_EVENT_SUSPECT], 0);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    HOUSE_IS(h, house_stats(h, "db").live, 3);
    house_close(h);
}

/* ---- beside other options -------------------------------------------------------------------- */

static void one_in_doubt_must_get_no_more_who_share_it(void **state)
{
    kp_options o = failover_plan(2, NULL);
    kp_lease first[2], second[2], late;

    (void)state;
    o.limits.sharing = 2;
    o.limits.validate_on = KP_CHECK_RETURN; /* one in doubt is validated all the same */
    house_open(h, &o);
    for (int i = 0; i < 2; i++) HOUSE_IS(h, kp_get(h->pool, kp_str("db"), NULL, &first[i]), 0);
    for (int i = 0; i < 2; i++) HOUSE_IS(h, kp_get(h->pool, kp_str("db"), NULL, &second[i]), 0);
    HOUSE_HAS(h, first[0].resource == first[1].resource);
    uint64_t before = failover.checks;
    say_gone(&first[0]);
    kp_release(&second[0]);
    HOUSE_IS(h, house_try(h, "db", &late), KP_EAGAIN); /* a seat is free, in one in doubt */
    kp_release(&second[1]); /* and its last borrower's end is validated */
    HOUSE_IS(h, failover.checks, before + 1);
    HOUSE_HAS(h, !failover_is_suspect());
    HOUSE_IS(h, kp_try_get(h->pool, kp_str("db"), &late), 0);
    kp_release(&late);
    for (int i = 0; i < 2; i++) kp_release(&first[i]);
    HOUSE_IS(h, house_stats(h, "db").live, 1);
    house_close(h);
}

static void a_key_that_is_suspect_must_leave_others_alone(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    house_stock(h, "other", 2);
    say_gone(&lease[0]);
    say_gone(&lease[1]);
    HOUSE_IS(h, house_stats(h, "other").idle, 2);
    house_settle(h);
    HOUSE_IS(h, failover.checks, 0);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    house_close(h);
}

static void a_closed_pool_must_take_the_news_quietly(void **state)
{
    kp_options o = failover_plan(3, NULL);
    kp_lease lease[2];

    (void)state;
    begin(&o, lease);
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_NOW, 1), 2);
    h->ended = true;
    say_gone(&lease[0]);
    for (int i = 0; i < 2; i++) house_release(h, &lease[i]);
    house_leave(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_idle_must_be_tested_at_once_though_it_was_just_used),
        cmocka_unit_test(one_in_doubt_must_be_validated_before_it_is_lent),
        cmocka_unit_test(a_good_use_must_end_the_doubt),
        cmocka_unit_test(one_without_others_must_make_nothing_suspect),
        cmocka_unit_test(what_is_made_later_must_be_in_no_doubt),
        cmocka_unit_test(the_second_that_is_gone_must_end_the_rest),
        cmocka_unit_test(old_news_must_not_concern_what_is_new),
        cmocka_unit_test(one_that_was_proven_and_is_gone_must_be_news_again),
        cmocka_unit_test(a_reset_must_be_able_to_say_it),
        cmocka_unit_test(a_use_that_meets_it_must_say_it_and_go_on_with_a_good_one),
        cmocka_unit_test(other_failures_must_make_nothing_suspect),
        cmocka_unit_test(where_it_is_off_it_must_be_a_failure_like_any_other),
        cmocka_unit_test(one_in_doubt_must_get_no_more_who_share_it),
        cmocka_unit_test(a_key_that_is_suspect_must_leave_others_alone),
        cmocka_unit_test(a_closed_pool_must_take_the_news_quietly),
    };
    return cmocka_run_group_tests_name("suspects", tests, NULL, NULL);
}
