/* SPDX-License-Identifier: MIT
 *
 * What the tests of kp_budget_set share (budgets.c, budgets_refused.c).
 */
#ifndef CONTRACT_BUDGETS_H
#define CONTRACT_BUDGETS_H

#include "contract.h"

#define A kp_str("a")
#define B kp_str("b")
#define C kp_str("c")

CONTRACT_HELPER void begin(contract *c)
{
    contract_begin(c, NULL);
    c->options.limits.max_live = 8;
    c->options.limits.max_creating = KP_UNLIMITED;
    c->options.limits.idle_ttl_ms = KP_OFF;
    c->options.limits.max_age_ms = KP_OFF;
}

/* The budget must be accepted. Each test checks itself what the laws say of budgets, as they
 * change.
 */
CONTRACT_HELPER void set(contract *c, kp_budget budget)
{
    kp_why why = { .code = KP_ECONFIG }; /* of an earlier call */
    int rc = kp_budget_set(c->pool, &budget, &why);

    if (rc != 0) print_error("kp_budget_set: %s\n", why.text);
    assert_int_equal(rc, 0);
    assert_int_equal(why.code, 0);
    memset(&c->options.budget, 0, sizeof c->options.budget);
    (void)kp_sim_settle(c->sim);
    contract_check(c);
}

CONTRACT_HELPER void refused(contract *c, kp_budget budget, const char *field)
{
    kp_stats before = contract_stats(c, KP_EVERY_KEY), after;
    kp_why why;

    assert_int_equal(kp_budget_set(c->pool, &budget, &why), KP_ECONFIG);
    assert_string_equal(why.field, field);
    assert_int_equal(kp_budget_set(c->pool, &budget, NULL), KP_ECONFIG);
    after = contract_stats(c, KP_EVERY_KEY);
    assert_memory_equal(&before, &after, sizeof before);
}

CONTRACT_HELPER void stock(contract *c, kp_key key, int n)
{
    kp_lease leases[8];

    contract_take_all(c, key, leases, n);
    contract_give_all(c, leases, n);
}

/* A task that waits for one and holds it for so long. */
CONTRACT_HELPER void hold(contract *c, getter *g, kp_key key, int64_t hold_ms)
{
    contract_start_as(c, g, 1, (getter){ .key = key, .hold_ms = hold_ms });
    (void)kp_sim_settle(c->sim);
}

#endif
