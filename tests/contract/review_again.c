/* SPDX-License-Identifier: MIT
 *
 * What a second hostile review found: groups whose books change while a victim is destroyed, limits
 * that change while limits_for is asked for them, functions that must be called only once, and
 * values of options that are not numbers.
 */
#include <stdlib.h>

#include "contract.h"

static contract c;
static kp_world world;
static const kp_world *life;
static kp_gate gate[3];
static int rc[2], allocations, stall_at;
static char things[80];
static int makes, destroys_wait;

static void begin(void)
{
    memset(gate, 0, sizeof gate);
    rc[0] = rc[1] = 1;
    allocations = stall_at = makes = destroys_wait = 0;
    contract_begin(&c, NULL);
}

/* ---- a victim's heir leaves its group -------------------------------------------------------- */

static int make_thing(kp_job *job, void **out)
{
    if (gate[1].entered == 0 && gate[1].open == 2 && strcmp(job->key.data, "b") == 0)
        kp_gate_pass(c.sim, &gate[2]);
    *out = &things[makes++];
    return 0;
}

static int drop_thing(kp_job *job, void *resource)
{
    (void)resource;
    if (strcmp(job->key.data, "v") == 0) kp_gate_pass(c.sim, &gate[0]);
    return 0;
}

static const kp_driver plain = { .create = make_thing, .destroy = drop_thing };

static void all_but_two_in_a_group(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (strcmp(key.data, "v") != 0 && strcmp(key.data, "e") != 0) limits->group[0] = 5;
    if (strcmp(key.data, "b") == 0) limits->min_live = 1;
}

static void open_groups(int64_t live, int64_t group)
{
    begin();
    c.options.limits_for = all_but_two_in_a_group;
    c.options.limits.prefill = KP_PREFILL_NONE;
    c.options.budget.max_live = live;
    c.options.budget.group_max_live[0] = group;
    contract_open_driver(&c, &plain);
}

static void take(const char *key, kp_lease *lease)
{
    assert_int_equal(kp_get(c.pool, kp_str(key), NULL, lease), 0);
}

static void get_h(void *arg)
{
    kp_lease lease;

    (void)arg;
    if ((rc[0] = kp_get(c.pool, kp_str("h"), NULL, &lease)) == 0) kp_discard(&lease);
}

static void get_w(void *arg)
{
    kp_ask ask = { .within_ms = KP_SECONDS(20) };
    kp_lease lease;

    (void)arg;
    if ((rc[1] = kp_get(c.pool, kp_str("w"), &ask, &lease)) == 0) kp_release(&lease);
}

static void get_b(void *arg)
{
    kp_lease lease;

    (void)arg;
    if ((rc[0] = kp_get(c.pool, kp_str("b"), NULL, &lease)) == 0) kp_release(&lease);
}

static void spawn(void (*fn)(void *))
{
    assert_true(kp_sim_spawn(c.sim, fn, NULL) > 0);
    (void)kp_sim_settle(c.sim);
}

static void what_an_heir_held_in_a_group_that_it_left_must_be_given_away(void **state)
{
    kp_lease lease;

    (void)state;
    open_groups(1, 1);
    take("v", &lease);
    kp_release(&lease);
    spawn(get_h); /* v goes for it */
    spawn(get_w); /* and it is all that their group may have */
    assert_int_equal(kp_limits_set(c.pool, kp_str("h"), &(kp_limits){ .group[0] = KP_NONE }, NULL),
                     0);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(rc[0], 0);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(rc[1], 0);
    contract_end(&c);
}

static void an_idle_one_beside_a_permit_that_came_late_must_make_room(void **state)
{
    kp_lease b, e, v;

    (void)state;
    open_groups(3, 2);
    take("b", &b);
    take("e", &e);
    take("v", &v);
    kp_release(&v);
    gate[1].open = 2; /* b's next is made slowly */
    spawn(get_b);     /* v goes for it */
    spawn(get_w);     /* their group is full, and nothing idle */
    kp_release(&b);
    kp_gate_open(c.sim, &gate[0]);
    kp_sim_pass_ms(c.sim, 10);
    assert_int_equal(rc[0], 1); /* being made, so that the other one of b is above its minimum */
    assert_int_equal(rc[1], 0);
    kp_gate_open(c.sim, &gate[2]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(rc[0], 0);
    kp_release(&e);
    contract_end(&c);
}

/* ---- limits that change meanwhile ------------------------------------------------------------ */

static void *stalling(size_t size, size_t align, void *ctx)
{
    if (++allocations == stall_at) kp_gate_pass(c.sim, &gate[0]);
    return life->alloc(size, align, ctx);
}

static void begin_stalling(void)
{
    begin();
    life = c.options.world;
    world = *life;
    world.alloc = stalling;
    c.options.world = &world;
}

static void set_live(void *arg)
{
    (void)arg;
    rc[0] = kp_limits_set(c.pool, KP_EVERY_KEY, &(kp_limits){ .max_live = 7 }, NULL);
}

static int set_lent(kp_key key)
{
    return kp_limits_set(c.pool, key, &(kp_limits){ .max_lent = 2 }, NULL);
}

/* Does this key lend two, and no more? */
static void must_lend_two(kp_key key)
{
    kp_lease leases[2];

    contract_take_all(&c, key, leases, 2);
    (void)contract_refused(&c, key, 100, KP_ETIMEDOUT);
    contract_give_all(&c, leases, 2);
}

static void two_who_change_the_limits_of_all_must_both_be_heard(void **state)
{
    (void)state;
    begin_stalling();
    contract_open(&c);
    stall_at = allocations + 1;
    spawn(set_live);
    assert_int_equal(set_lent(KP_EVERY_KEY), 0);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(rc[0], 0);
    must_lend_two(kp_str("new"));
    contract_end(&c);
}

static void asks_slowly(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)ctx;
    limits->max_idle = 3;
    kp_gate_pass(c.sim, &gate[0]);
}

static void a_key_that_is_being_made_must_follow_the_limits_of_all(void **state)
{
    (void)state;
    begin();
    c.options.limits_for = asks_slowly;
    contract_open(&c);
    spawn(get_b);
    assert_int_equal(set_lent(KP_EVERY_KEY), 0);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    must_lend_two(kp_str("b"));
    contract_end(&c);
    for (int at = 1; at < 12; at++) { /* and without limits_for, wherever memory is asked for */
        begin_stalling();
        c.options.limits.group[0] = 5;
        c.options.budget.group_max_live[0] = 100;
        contract_open(&c);
        stall_at = allocations + at;
        spawn(get_b);
        stall_at = 0;
        assert_int_equal(set_lent(KP_EVERY_KEY), 0);
        kp_gate_open(c.sim, &gate[0]);
        (void)kp_sim_settle(c.sim);
        must_lend_two(kp_str("b"));
        contract_end(&c);
    }
}

static void limits_of_a_key_that_is_being_made_must_not_be_taken_for_set(void **state)
{
    (void)state;
    begin();
    c.options.limits_for = asks_slowly;
    contract_open(&c);
    spawn(get_b);
    assert_int_equal(set_lent(kp_str("b")), KP_ENOTFOUND);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    contract_end(&c);
}

static void write_nonsense(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)ctx;
    limits->max_age_ms = -7;
}

static void a_warm_up_must_name_the_field_that_was_refused(void **state)
{
    kp_why why;
    kp_ask ask = { .within_ms = 10, .why = &why };
    kp_key key = kp_str("a");

    (void)state;
    begin();
    c.options.limits_for = write_nonsense;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, &key, 1, &ask), 0);
    assert_int_equal(why.code, KP_ECONFIG);
    assert_string_equal(why.field, "limits.max_age_ms");
    contract_end(&c);
}

/* ---- once ------------------------------------------------------------------------------------ */

static kp_job *test;
static int cancels;

static int tests_for_ever(kp_job *job, void *resource)
{
    (void)resource;
    test = job;
    return KP_PENDING;
}

static void hurries_slowly(kp_job *job)
{
    (void)job;
    cancels++;
    kp_gate_pass(c.sim, &gate[1]);
}

static void keep(void *arg)
{
    (void)arg;
    (void)kp_keep(c.pool);
}

static void a_test_must_be_hurried_once(void **state)
{
    kp_lease lease;

    (void)state;
    begin();
    test = NULL;
    cancels = 0;
    c.options.threads = KP_NONE;
    c.options.limits.validate_on = KP_CHECK_KEEPER;
    c.options.limits.validate_every_ms = c.options.limits.validate_timeout_ms = 1000;
    contract_open_driver(&c, &(kp_driver){ .create = make_thing, .destroy = drop_thing,
                                           .validate = tests_for_ever, .cancel = hurries_slowly,
                                           .flags = KP_NEVER_BLOCKS });
    take("a", &lease);
    kp_release(&lease);
    for (int i = 0; i < 20 && !test; i++) {
        kp_sim_pass_ms(c.sim, 100);
        (void)kp_keep(c.pool);
    }
    assert_non_null(test);
    assert_int_equal(kp_rotate(c.pool, kp_str("a"), 3000), 1);
    kp_sim_pass_ms(c.sim, 1100);
    spawn(keep);
    assert_int_equal(cancels, 1);
    kp_sim_pass_ms(c.sim, 3000);
    spawn(keep); /* rotated away, while driver.cancel is still at it */
    assert_int_equal(cancels, 1);
    kp_gate_open(c.sim, &gate[1]);
    (void)kp_sim_settle(c.sim);
    kp_job_done(test, 0, NULL);
    contract_end(&c);
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { JOBS = 64 };
static int answers[JOBS + 1];

static int makes_slowly(kp_job *job, void **out)
{
    (void)job;
    int n = makes++;
    kp_gate_pass(c.sim, &gate[1]);
    *out = &things[n];
    return 0;
}

static void get_fresh(void *arg)
{
    kp_ask ask = { .flags = KP_FRESH };
    int *answer = arg;
    kp_lease lease;

    if ((*answer = kp_get(c.pool, kp_str("k"), &ask, &lease)) == 0) kp_release(&lease);
}

static void jobs_of_others_must_not_be_want_of_memory(void **state)
{
    (void)state;
    begin_stalling();
    c.options.limits.sharing = 2;
    c.options.limits.max_live = JOBS + 1;
    c.options.limits.max_creating = KP_UNLIMITED;
    contract_open_driver(&c, &(kp_driver){ .create = makes_slowly, .destroy = drop_thing });
    for (int i = 0; i <= JOBS; i++) {
        if (i == JOBS - 1) stall_at = allocations + 1; /* its seats */
        assert_true(kp_sim_spawn(c.sim, get_fresh, &answers[i]) > 0);
        (void)kp_sim_settle(c.sim);
    }
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    kp_gate_open(c.sim, &gate[1]);
    (void)kp_sim_settle(c.sim);
    for (int i = 0; i <= JOBS; i++) assert_int_equal(answers[i], 0);
    contract_end(&c);
}

/* ---- scopes ---------------------------------------------------------------------------------- */

static kp_scope scope;

static int closes_it(kp_job *job, void **out)
{
    (void)job;
    kp_scope_close(&scope);
    *out = &things[makes++];
    return 0;
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static void a_scope_may_be_closed_by_what_its_get_calls(void **state)
{
    kp_lease lease;
    int closed = 0;

    (void)state;
    begin();
    contract_open_driver(&c, &(kp_driver){ .create = closes_it, .destroy = drop_thing });
    for (int i = 0; i < 6; i++) assert_int_equal(kp_scope_defer(&scope, count, &closed), 0);
    assert_int_equal(kp_scope_get(&scope, c.pool, kp_str("a"), NULL, &lease), 0);
    assert_int_equal(closed, 6);
    kp_scope_close(&scope);
    contract_end(&c);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static int never(kp_lease *lease, void *arg)
{
    (void)lease, (void)arg;
    return -1;
}

static void numbers_at_the_edge_must_be_refused_or_meant(void **state)
{
    static const int64_t wrong[] = { INT64_MAX, INT64_MIN, INT64_MAX / 4 };
    kp_key other = kp_str("b");
    kp_plan plan = { .ask = { .within_ms = -5 } }, many = { .fallback = &other,
                                                            .fallbacks = SIZE_MAX };
    kp_schedule slowly = { .times = KP_UNLIMITED, .first_ms = 1, .factor_pct = 150 };
    kp_pool *none;

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        c.options.limits.max_live = wrong[i];
        c.options.driver = plain;
        assert_int_equal(kp_pool_open(&c.options, &none), KP_ECONFIG);
        assert_string_equal(c.why.field, "limits.max_live");
    }
    c.options.limits.max_live = 600000000; /* what follows from it must not be refused */
    contract_open_driver(&c, &plain);
    assert_int_equal(kp_use(c.pool, other, &plan, never, NULL), KP_ECONFIG);
    assert_int_equal(kp_use(c.pool, other, &many, never, NULL), KP_ECONFIG);
    assert_true(kp_schedule_pause_ms(&slowly, 20, 0, 0) > 1000);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_heir_held_in_a_group_that_it_left_must_be_given_away),
        cmocka_unit_test(an_idle_one_beside_a_permit_that_came_late_must_make_room),
        cmocka_unit_test(two_who_change_the_limits_of_all_must_both_be_heard),
        cmocka_unit_test(a_key_that_is_being_made_must_follow_the_limits_of_all),
        cmocka_unit_test(limits_of_a_key_that_is_being_made_must_not_be_taken_for_set),
        cmocka_unit_test(a_warm_up_must_name_the_field_that_was_refused),
        cmocka_unit_test(a_test_must_be_hurried_once),
        cmocka_unit_test(jobs_of_others_must_not_be_want_of_memory),
        cmocka_unit_test(a_scope_may_be_closed_by_what_its_get_calls),
        cmocka_unit_test(numbers_at_the_edge_must_be_refused_or_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
