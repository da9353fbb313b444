/* SPDX-License-Identifier: MIT
 *
 * kp_limits_read and kp_budget_read in use: what is changed for a while is set back to what it was,
 * for a key, for each key, and for the pool; and a look changes nothing. Each field on its own:
 * unit/flow_read.c.
 */
#include "budgets.h"

static kp_limits limits_of(contract *c, kp_key key)
{
    kp_limits limits;

    assert_int_equal(kp_limits_read(c->pool, key, &limits), 0);
    return limits;
}

static void set_limits(contract *c, kp_key key, kp_limits limits)
{
    kp_why why;
    int rc = kp_limits_set(c->pool, key, &limits, &why);

    if (rc != 0) print_error("kp_limits_set: %s\n", why.text);
    assert_int_equal(rc, 0);
    (void)kp_sim_settle(c->sim);
    contract_check(c);
}

/* ---- back to what it was --------------------------------------------------------------------- */

static void a_key_that_pauses_must_go_on_with_what_was_read(void **state)
{
    contract c;
    getter g[4];
    (void)state;
    begin(&c);
    c.options.limits.max_lent = 3;
    contract_open(&c);
    stock(&c, A, 1);
    const kp_limits before = limits_of(&c, A);
    assert_int_equal(before.max_lent, 3);
    set_limits(&c, A, (kp_limits){ .max_lent = KP_NONE });
    assert_int_equal(limits_of(&c, A).max_lent, KP_NONE);
    for (int i = 0; i < 4; i++) hold(&c, &g[i], A, 1000);
    kp_sim_pass_ms(c.sim, 100);
    assert_int_equal(contract_stats(&c, A).leases, 0);
    set_limits(&c, A, before);
    assert_int_equal(contract_stats(&c, A).leases, 3);
    kp_sim_join(c.sim, 0);
    for (int i = 0; i < 4; i++) assert_int_equal(g[i].rc, 0);
    kp_limits after = limits_of(&c, A);
    assert_memory_equal(&before, &after, sizeof before);
    contract_end(&c);
}

static void a_pool_that_pauses_must_go_on_with_what_was_read(void **state)
{
    contract c;
    getter g[4];
    kp_budget before, after;
    (void)state;
    begin(&c);
    c.options.budget.max_lent = 3;
    contract_open(&c);
    stock(&c, A, 1);
    set_limits(&c, A, (kp_limits){ .max_lent = 1 });
    assert_int_equal(kp_budget_read(c.pool, &before), 0);
    set(&c, (kp_budget){ .max_lent = KP_NONE });
    for (int i = 0; i < 4; i++) hold(&c, &g[i], i % 2 ? A : B, 1000);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 0);
    set(&c, before);
    assert_int_equal(contract_stats(&c, A).leases, 1); /* its own limit is as it was */
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 3);
    kp_sim_join(c.sim, 0);
    assert_int_equal(kp_budget_read(c.pool, &after), 0);
    assert_memory_equal(&before, &after, sizeof before);
    contract_end(&c);
}

struct album {
    contract *c;
    kp_limits limits[3];
    int seen;
    bool give_back;
};

static int remember_or_give_back(kp_key key, const kp_stats *stats, void *arg)
{
    struct album *album = arg;
    kp_limits *limits = &album->limits[album->seen++];

    (void)stats;
    return album->give_back ? kp_limits_set(album->c->pool, key, limits, NULL)
                            : kp_limits_read(album->c->pool, key, limits);
}

static void keys_of_their_own_must_each_get_back_what_was_theirs(void **state)
{
    const kp_key keys[] = { A, B, C };
    contract c;
    struct album album = { .c = &c };
    (void)state;
    begin(&c);
    contract_open(&c);
    for (int i = 0; i < 3; i++) {
        stock(&c, keys[i], 1);
        set_limits(&c, keys[i], (kp_limits){ .max_lent = i + 1 });
    }
    const kp_limits all = limits_of(&c, KP_EVERY_KEY);
    assert_int_equal(kp_each_key(c.pool, remember_or_give_back, &album), 0);
    assert_int_equal(album.seen, 3);
    set_limits(&c, KP_EVERY_KEY, (kp_limits){ .max_lent = KP_NONE });
    set_limits(&c, KP_EVERY_KEY, all);
    for (int i = 0; i < 3; i++) assert_int_equal(limits_of(&c, keys[i]).max_lent, KP_UNLIMITED);
    album = (struct album){ .c = &c, .limits = { album.limits[0], album.limits[1],
                                                 album.limits[2] }, .give_back = true };
    assert_int_equal(kp_each_key(c.pool, remember_or_give_back, &album), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(limits_of(&c, keys[i]).max_lent, i + 1);
    contract_end(&c);
}

static void every_preset_must_be_set_as_it_was_read(void **state)
{
    static const char *const presets[] = {
        "effect-fixed 3",  "effect-range 1 4 1min", "zio-fixed 3", "zio-range 1 4 1min",
        "effectful 3",     "keypool",               "commons",     "pgbouncer 3",
        "hikari 3",        "apr 1 2 4 1min",        "dbconnection 3"
    };
    (void)state;
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        contract c;
        kp_budget budget, again;
        contract_begin(&c, "%s", presets[i]);
        contract_open(&c);
        contract_warm(&c, A);
        const kp_limits all = limits_of(&c, KP_EVERY_KEY), one = limits_of(&c, A);
        assert_memory_equal(&all, &one, sizeof all);
        assert_int_equal(kp_budget_read(c.pool, &budget), 0);
        set_limits(&c, KP_EVERY_KEY, all);
        set_limits(&c, A, one);
        assert_int_equal(kp_budget_set(c.pool, &budget, NULL), 0);
        kp_limits now = limits_of(&c, KP_EVERY_KEY);
        assert_memory_equal(&all, &now, sizeof all);
        now = limits_of(&c, A);
        assert_memory_equal(&all, &now, sizeof all);
        assert_int_equal(kp_budget_read(c.pool, &again), 0);
        assert_memory_equal(&budget, &again, sizeof budget);
        contract_end(&c);
    }
}

/* ---- a look changes nothing ------------------------------------------------------------------ */

static void a_look_must_not_keep_a_key(void **state)
{
    contract c;
    kp_lease lease;
    kp_limits limits;
    kp_budget budget;
    (void)state;
    begin(&c);
    c.options.forget_key_after_ms = 1000;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    kp_discard(&lease);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(kp_limits_read(c.pool, A, &limits), 0);
        assert_int_equal(kp_budget_read(c.pool, &budget), 0);
        kp_sim_pass_ms(c.sim, 100);
    }
    kp_sim_pass_ms(c.sim, 200);
    assert_int_equal(kp_limits_read(c.pool, A, &limits), KP_ENOTFOUND);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys_made, 1);
    contract_end(&c);
}

/* As kp_stats_read: until what is lent has come back. */
static void a_pool_that_closes_must_still_say_what_is_in_force(void **state)
{
    contract c;
    kp_lease lease;
    kp_limits limits;
    kp_budget budget;
    (void)state;
    begin(&c);
    c.options.budget.max_live = 5;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_NONE), 1);
    assert_int_equal(limits_of(&c, A).max_live, 8);
    assert_int_equal(kp_budget_read(c.pool, &budget), 0);
    assert_int_equal(budget.max_live, 5);
    kp_release(&lease);
    assert_int_equal(kp_limits_read(c.pool, A, &limits), KP_ECLOSED);
    assert_int_equal(kp_budget_read(c.pool, &budget), KP_ECLOSED);
    assert_int_equal(budget.max_live, 0);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_pauses_must_go_on_with_what_was_read),
        cmocka_unit_test(a_pool_that_pauses_must_go_on_with_what_was_read),
        cmocka_unit_test(keys_of_their_own_must_each_get_back_what_was_theirs),
        cmocka_unit_test(every_preset_must_be_set_as_it_was_read),
        cmocka_unit_test(a_look_must_not_keep_a_key),
        cmocka_unit_test(a_pool_that_closes_must_still_say_what_is_in_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
