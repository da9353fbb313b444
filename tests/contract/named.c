/* SPDX-License-Identifier: MIT
 *
 * What a time-out says it was limited by, where that has changed: a creation of its own has ended,
 * those ahead leave together with it, or others are ahead by now.
 */
#include "corners.h"

struct asker {
    contract *c;
    int64_t within_ms, hold_ms;
    int rc;
    kp_why why;
};

static void ask(void *arg)
{
    struct asker *a = arg;
    kp_lease lease;

    a->rc = kp_get(a->c->pool, kp_str("a"), KP_ASK(.within_ms = a->within_ms, .why = &a->why),
                   &lease);
    if (a->rc != 0) return;
    if (a->hold_ms) kp_sim_pass_ms(a->c->sim, a->hold_ms);
    kp_release(&lease);
}

/* It comes a ms after the one before it. */
static void come(contract *c, struct asker *a, int64_t within_ms)
{
    *a = (struct asker){ .c = c, .within_ms = within_ms, .rc = KP_PENDING };
    assert_true(kp_sim_spawn(c->sim, ask, a) > 0);
    kp_sim_pass_ms(c->sim, 1);
}

static void a_creation_that_has_ended_must_not_be_named(void **state)
{
    static const kp_line down[] = { { .takes_ms = 5, .status = -1, .times = KP_OFF }, { 0 } };
    struct asker first, second;
    contract c;

    (void)state;
    begin(&c);
    c.options.limits.on_create_failure = KP_FAIL_RETRY;
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = KP_HOURS(24);
    c.script.create = down;
    contract_open(&c);
    come(&c, &first, 5000);
    come(&c, &second, 50);
    kp_sim_pass_ms(c.sim, 60);
    assert_int_equal(second.rc, KP_ETIMEDOUT);
    assert_int_equal(second.why.creating, 0);
    assert_string_equal(second.why.limit, "wait_order");
    assert_non_null(strstr(second.why.text, "1 ahead, the first by retry_first_ms"));
    contract_end(&c);
}

/* The least wait in an interval is longer than the target. */
static void make_slow(contract *c, struct asker early[2])
{
    kp_lease lease;

    contract_take(c, kp_str("a"), &lease);
    for (int i = 0; i < 2; i++) come(c, &early[i], 5000);
    kp_sim_pass_ms(c->sim, 50);
    early[0].hold_ms = 30;
    kp_release(&lease);
    kp_sim_pass_ms(c->sim, 31);
    for (int i = 0; i < 2; i++) assert_int_equal(early[i].rc, 0);
}

static void who_gives_up_with_those_ahead_must_name_what_bound_them(void **state)
{
    struct asker early[2], ahead, late, behind;
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits.max_live = 1;
    c.options.limits.shed_target_ms = 10;
    c.options.limits.shed_interval_ms = 20;
    contract_open(&c);
    make_slow(&c, early);
    contract_take(&c, kp_str("a"), &lease);
    come(&c, &ahead, 5000);
    come(&c, &late, 50);
    come(&c, &behind, 5000);
    kp_sim_pass_ms(c.sim, 60);
    assert_int_equal(ahead.rc, KP_EFULL); /* as slow as that it waits no longer */
    assert_int_equal(late.rc, KP_ETIMEDOUT);
    assert_int_equal(late.why.ahead, 0);
    assert_string_equal(late.why.limit, "max_live");
    kp_release(&lease);
    contract_rest(&c);
    assert_int_equal(behind.rc, 0);
    contract_end(&c);
}

/* It was the first of its queue in a pause. Now another is, which waits for something else. */
static void who_is_no_longer_the_first_must_name_those_ahead(void **state)
{
    static const kp_line down[] = { { .status = -1, .times = 1 }, { 0 } };
    struct asker early, ahead;
    contract c;
    kp_lease lease;

    (void)state;
    begin(&c);
    c.options.limits.wait_order = KP_LIFO;
    c.options.limits.retry_first_ms = c.options.limits.retry_max_ms = 20;
    c.options.budget.max_live = 1;
    c.script.create = down;
    contract_open(&c);
    assert_int_equal(get_within(&c, "a", 100, &lease), KP_ECREATE);
    contract_take(&c, kp_str("b"), &lease);
    come(&c, &early, 50);
    come(&c, &ahead, 5000);
    kp_sim_pass_ms(c.sim, 60);
    assert_int_equal(early.rc, KP_ETIMEDOUT);
    assert_string_equal(early.why.limit, "wait_order");
    assert_non_null(strstr(early.why.text, "1 ahead, the first by budget.max_live"));
    kp_release(&lease);
    contract_rest(&c);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_that_has_ended_must_not_be_named),
        cmocka_unit_test(who_gives_up_with_those_ahead_must_name_what_bound_them),
        cmocka_unit_test(who_is_no_longer_the_first_must_name_those_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
