/* SPDX-License-Identifier: MIT
 *
 * Effect's KeyedPool: make, makeWith, makeWithTTL, makeWithTTLBy, expressed by presets and options
 * alone.
 *
 * Not here: B-ASYNC-01 (a waiting get blocks no thread); loop.c has event loops.
 */
#include <stdlib.h>

#include "scripts.h"

/* ---- make: one size for all keys ------------------------------------------------------------- */

/* B-CFG-01 */
static void nothing_must_exist_and_no_create_run_before_a_keys_first_get(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 5);
    contract_open(&c);
    kp_sim_pass_ms(c.sim, KP_MINUTES(1));
    contract_rest(&c);
    assert_int_equal(kp_cast_read(c.cast).creates, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    (void)contract_take(&c, EU, &lease);
    contract_give(&c, &lease);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 1);
    assert_int_equal(contract_stats(&c, EU).live, 5);
    assert_int_equal(contract_stats(&c, US).live, 0);
    contract_end(&c);
}

/* B-CFG-02: one item per key, so that the counts are the guide's */
static void an_idle_item_must_only_be_lent_for_the_key_it_was_made_for(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    (void)contract_take(&c, kp_str("a"), &lease);
    contract_give(&c, &lease);
    (void)contract_take(&c, kp_str("b"), &lease);
    assert_string_equal(contract_prop(&lease)->key, "b");
    contract_give(&c, &lease);
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    (void)contract_take(&c, kp_str("a"), &lease);
    assert_string_equal(contract_prop(&lease)->key, "a");
    assert_int_equal(kp_cast_read(c.cast).creates, 2);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* B-CFG-03, B-LIM-05, B-LIM-07 */
static void each_key_must_have_at_most_its_size_and_no_limit_binds_all_keys_together(void **state)
{
    contract c;
    kp_gate gate = { 0 };
    getter getters[4][5];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    contract_open(&c);
    for (int k = 0; k < 4; k++) {
        static const char *const names[4] = { "a", "b", "c", "d" };
        contract_start(&c, getters[k], 5, kp_str(names[k]), &gate);
        assert_int_equal(contract_stats(&c, kp_str(names[k])).live, 3);
        assert_int_equal(contract_stats(&c, kp_str(names[k])).waiting, 2);
    }
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 12);
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

/* B-CFG-22 */
static void twenty_first_gets_of_a_new_key_at_once_must_share_one_subpool(void **state)
{
    contract c;
    getter getters[20];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    c.script.create = create_blocks_100_ms;
    contract_open(&c);
    contract_start(&c, getters, 20, EU, NULL);
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_answered(getters, 20), 20);
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys_made, 1);
    contract_end(&c);
}

/* ---- makeWith: size by key ------------------------------------------------------------------- */

static int limits_calls;

/* The guide's sizes: priority high 20, normal 5; us-east-1 20, else 10. */
static void size_by_key(kp_key key, kp_limits *limits, void *ctx)
{
    int64_t size = 10;
    (void)ctx;
    limits_calls++;
    if (key.size == 4 && memcmp(key.data, "high", 4) == 0) {
        size = 20;
    } else if (key.size == 6 && memcmp(key.data, "normal", 6) == 0) {
        size = 5;
    } else if (key.size == 9 && memcmp(key.data, "us-east-1", 9) == 0) {
        size = 20;
    }
    limits->min_live = limits->max_live = size;
}

/* B-CFG-04 */
static void a_size_that_depends_on_the_key_must_be_each_keys_own_limit(void **state)
{
    static const struct {
        const char *key;
        uint64_t size;
    } rows[] = { { "high", 20 }, { "normal", 5 }, { "us-east-1", 20 }, { "eu-west-1", 10 } };
    contract c;
    kp_gate gate = { 0 };
    getter getters[4][22];
    (void)state;
    contract_begin(&c, "effect-fixed %d", 10);
    c.options.limits_for = size_by_key;
    contract_open(&c);
    for (int i = 0; i < 4; i++) {
        kp_key key = kp_str(rows[i].key);
        contract_start(&c, getters[i], 22, key, &gate);
        assert_int_equal(contract_stats(&c, key).live, rows[i].size);
        assert_int_equal(contract_stats(&c, key).waiting, 22 - rows[i].size);
    }
    kp_gate_open(c.sim, &gate);
    kp_sim_join(c.sim, 0);
    contract_end(&c);
}

typedef struct service_key {
    int base_is, load_is;
} service_key;

static const kp_field service_fields[] = { KP_INT(service_key, base_is),
                                           KP_INT(service_key, load_is), KP_END };

/* base 20/10/5 by importance, times 2/1.5/1 by load, rounded up */
static void size_computed(kp_key key, kp_limits *limits, void *ctx)
{
    static const int base[] = { 20, 10, 5 }, halves[] = { 4, 3, 2 };
    const service_key *service = key.data;
    (void)ctx;
    limits->min_live = limits->max_live =
        (base[service->base_is] * halves[service->load_is] + 1) / 2;
}

/* B-CFG-05 */
static void a_computed_size_must_be_used_as_it_is(void **state)
{
    static const struct {
        service_key key;
        uint64_t size;
    } rows[] = { { { 0, 0 }, 40 }, { { 1, 1 }, 15 }, { { 2, 1 }, 8 }, { { 2, 2 }, 5 } };
    contract c;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 10);
    c.options.limits_for = size_computed;
    c.options.key_type.size = sizeof(service_key);
    c.options.key_type.fields = service_fields;
    contract_open(&c);
    for (int i = 0; i < 4; i++) {
        contract_warm(&c, KP_KEY(&rows[i].key));
        assert_int_equal(contract_stats(&c, KP_KEY(&rows[i].key)).live, rows[i].size);
    }
    contract_end(&c);
}

/* B-CFG-06 */
static void limits_must_be_asked_for_once_however_often_the_key_is_got(void **state)
{
    contract c;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 10);
    c.options.limits_for = size_by_key;
    contract_open(&c);
    limits_calls = 0;
    for (int i = 0; i < 100; i++) {
        kp_lease lease;
        (void)contract_take(&c, EU, &lease);
        contract_give(&c, &lease);
    }
    contract_rest(&c);
    assert_int_equal(limits_calls, 1);
    contract_end(&c);
}

static bool limits_are_wrong;

static void sometimes_wrong(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    if (limits_are_wrong) {
        limits->min_live = 5;
        limits->max_live = 3;
    }
}

static void gets_with_wrong_limits(void *arg)
{
    contract *c = arg;
    kp_why why = { 0 };
    kp_lease lease;
    kp_ask ask = { .why = &why };
    if (kp_get(c->pool, EU, &ask, &lease) != KP_ECONFIG || why.field[0] == '\0') {
        contract_broken(c, "a key with contradicting limits was served");
    }
}

/* B-CFG-23 */
static void when_making_a_subpool_fails_all_who_ask_must_fail_and_a_later_get_must_build_again(
    void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 3);
    c.options.limits_for = sometimes_wrong;
    contract_open(&c);
    limits_are_wrong = true;
    for (int i = 0; i < 5; i++) {
        assert_true(kp_sim_spawn(c.sim, gets_with_wrong_limits, &c) > 0);
    }
    kp_sim_join(c.sim, 0);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 0);
    limits_are_wrong = false;
    (void)contract_take(&c, EU, &lease);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* ---- makeWithTTL, makeWithTTLBy -------------------------------------------------------------- */

/* B-CFG-07 */
static void with_common_min_max_and_ttl_each_key_must_move_between_them(void **state)
{
    contract c;
    kp_lease leases[10];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 2, 10, "5min");
    contract_open(&c);
    contract_take_all(&c, EU, leases, 10);
    contract_warm(&c, US);
    assert_int_equal(contract_stats(&c, EU).live, 10);
    assert_int_equal(contract_stats(&c, US).live, 2);
    contract_give_all(&c, leases, 10);
    kp_sim_pass_ms(c.sim, KP_MINUTES(5));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, EU).live, 2);
    assert_int_equal(contract_stats(&c, US).live, 2);
    contract_end(&c);
}

/* prod 5..25 / 30 min, else 2..10 / 10 min */
static void triple_by_key(kp_key key, kp_limits *limits, void *ctx)
{
    bool prod = key.size == 4 && memcmp(key.data, "prod", 4) == 0;
    (void)ctx;
    limits->min_live = prod ? 5 : 2;
    limits->max_live = prod ? 25 : 10;
    limits->excess_ttl_ms = prod ? KP_MINUTES(30) : KP_MINUTES(10);
}

/* B-CFG-08, B-TTL-17 */
static void with_min_max_and_ttl_by_key_every_key_must_follow_its_own_triple(void **state)
{
    contract c;
    kp_lease prod[25];
    kp_lease test[10];
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 1, 10, "1min");
    c.options.limits_for = triple_by_key;
    contract_open(&c);
    contract_take_all(&c, kp_str("prod"), prod, 25);
    contract_take_all(&c, kp_str("test"), test, 10);
    (void)contract_refused(&c, kp_str("prod"), 1, KP_ETIMEDOUT);
    (void)contract_refused(&c, kp_str("test"), 1, KP_ETIMEDOUT);
    contract_give_all(&c, prod, 25);
    contract_give_all(&c, test, 10);
    kp_sim_pass_ms(c.sim, KP_MINUTES(10));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, kp_str("prod")).live, 25);
    assert_int_equal(contract_stats(&c, kp_str("test")).live, 2);
    kp_sim_pass_ms(c.sim, KP_MINUTES(20));
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, kp_str("prod")).live, 5);
    contract_end(&c);
}

/* ---- keys, environment, warm-up -------------------------------------------------------------- */

typedef struct db_key {
    const char *cluster, *database;
} db_key;

static const kp_field db_fields[] = { KP_STR(db_key, cluster), KP_STR(db_key, database), KP_END };

/* B-CFG-21 */
static void equal_content_in_different_objects_must_be_the_same_key(void **state)
{
    contract c;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    c.options.key_type.size = sizeof(db_key);
    c.options.key_type.fields = db_fields;
    contract_open(&c);
    for (int i = 0; i < 5; i++) {
        char cluster[8] = "main", database[8] = "users";
        db_key *key = malloc(sizeof *key);
        kp_lease lease;
        assert_non_null(key);
        key->cluster = cluster;
        key->database = database;
        (void)contract_take(&c, KP_KEY(key), &lease);
        free(key);
        contract_give(&c, &lease);
    }
    assert_int_equal(kp_cast_read(c.cast).creates, 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).keys, 1);
    contract_end(&c);
}

typedef struct environment {
    int creates, destroys, drops;
} environment;

static int create_in_environment(kp_job *job, void **resource)
{
    environment *env = job->ctx;
    env->creates++;
    *resource = env;
    return 0;
}

static int destroy_in_environment(kp_job *job, void *resource)
{
    environment *env = job->ctx;
    env->destroys += resource == env;
    return 0;
}

static void drop_environment(void *ctx)
{
    ((environment *)ctx)->drops++;
}

/* B-CFG-18: whichever task or keeper triggers the create; one resource per key, because all are
 * the same pointer */
static void the_environment_given_at_open_must_be_used_for_all_creates_and_dropped_once(
    void **state)
{
    contract c;
    environment env = { 0 };
    kp_lease lease;
    kp_key us = US;
    kp_driver driver = { .create = create_in_environment,
                         .destroy = destroy_in_environment,
                         .ctx = &env,
                         .drop_ctx = drop_environment };
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open_driver(&c, &driver);
    assert_int_equal(kp_get(c.pool, EU, NULL, &lease), 0);
    assert_ptr_equal(lease.resource, &env);
    contract_give(&c, &lease);
    assert_int_equal(contract_close(&c, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    assert_int_equal(kp_warm(c.pool, &us, 1, NULL), KP_ECLOSED);
    assert_int_equal(env.creates, 1);
    assert_int_equal(env.destroys, 1);
    assert_int_equal(env.drops, 1);
    contract_end(&c);
}

/* B-CFG-19 */
static void is_pool_must_be_true_for_an_open_pool_and_false_for_anything_else(void **state)
{
    contract c;
    int something = 0;
    (void)state;
    contract_begin(&c, "effect-fixed %d", 1);
    contract_open(&c);
    assert_true(kp_is_pool(c.pool));
    assert_false(kp_is_pool(NULL));
    assert_false(kp_is_pool(&something));
    assert_false(kp_is_pool(c.sim));
    assert_false(kp_is_pool((const void *)(uintptr_t)12345));
    assert_int_equal(contract_close(&c, KP_CLOSE_NOW, 0), 0);
    assert_false(kp_is_pool(c.pool));
    contract_end(&c);
}

static const kp_line second_fails_all_take_10_ms[] = { { .blocks_ms = 10 },
                                                       { .blocks_ms = 10, .status = -1 },
                                                       { .blocks_ms = 10, .times = KP_OFF },
                                                       { 0 } };

/* B-CFG-20: kp_warm in the background */
static void a_warm_up_of_known_keys_must_run_behind_and_its_failures_must_not_harm_later_gets(
    void **state)
{
    contract c;
    const kp_key keys[3] = { kp_str("users"), kp_str("orders"), kp_str("billing") };
    (void)state;
    contract_begin(&c, "effect-range %d %d %s", 0, 3, "60s");
    c.script.create = second_fails_all_take_10_ms;
    contract_open(&c);
    assert_int_equal(kp_warm(c.pool, keys, 3, NULL), 0);
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    assert_int_equal(kp_cast_read(c.cast).creates, 0);
    kp_sim_pass_ms(c.sim, 100);
    contract_rest(&c);
    assert_true(kp_cast_read(c.cast).creates >= 2);
    assert_int_equal(c.events[KP_EVENT_CREATE_FAILED], 1);
    for (int i = 0; i < 3; i++) {
        kp_lease lease = { 0 };
        int rc = kp_get(c.pool, keys[i], NULL, &lease);
        if (rc == KP_ECREATE) { /* the background failure, handed out once (B-FAIL-13) */
            rc = kp_get(c.pool, keys[i], NULL, &lease);
        }
        assert_int_equal(rc, 0);
        contract_give(&c, &lease);
    }
    assert_int_equal(kp_cast_read(c.cast).creates, 3);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_must_exist_and_no_create_run_before_a_keys_first_get),
        cmocka_unit_test(an_idle_item_must_only_be_lent_for_the_key_it_was_made_for),
        cmocka_unit_test(each_key_must_have_at_most_its_size_and_no_limit_binds_all_keys_together),
        cmocka_unit_test(twenty_first_gets_of_a_new_key_at_once_must_share_one_subpool),
        cmocka_unit_test(a_size_that_depends_on_the_key_must_be_each_keys_own_limit),
        cmocka_unit_test(a_computed_size_must_be_used_as_it_is),
        cmocka_unit_test(limits_must_be_asked_for_once_however_often_the_key_is_got),
        cmocka_unit_test(
            when_making_a_subpool_fails_all_who_ask_must_fail_and_a_later_get_must_build_again),
        cmocka_unit_test(with_common_min_max_and_ttl_each_key_must_move_between_them),
        cmocka_unit_test(with_min_max_and_ttl_by_key_every_key_must_follow_its_own_triple),
        cmocka_unit_test(equal_content_in_different_objects_must_be_the_same_key),
        cmocka_unit_test(
            the_environment_given_at_open_must_be_used_for_all_creates_and_dropped_once),
        cmocka_unit_test(is_pool_must_be_true_for_an_open_pool_and_false_for_anything_else),
        cmocka_unit_test(
            a_warm_up_of_known_keys_must_run_behind_and_its_failures_must_not_harm_later_gets),
    };
    return cmocka_run_group_tests_name("effect_keys", tests, NULL, NULL);
}
