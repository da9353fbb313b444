/* SPDX-License-Identifier: MIT
 *
 * What a time-out says it was limited by, where that has changed: a creation of its own has ended.
 */
#include "corners.h"

struct asker {
    contract *c;
    int64_t within_ms;
    int rc;
    kp_why why;
};

static void ask(void *arg)
{
    struct asker *a = arg;
    kp_lease lease;

    a->rc = kp_get(a->c->pool, kp_str("a"), KP_ASK(.within_ms = a->within_ms, .why = &a->why),
                   &lease);
    if (a->rc == 0) kp_release(&lease);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_that_has_ended_must_not_be_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
