/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/find.c, rules.c, warm.c and clear.c: keys that cannot be made, limits asked
 * for while memory runs out, pins, warming, adding, and invalidating.
 */
#include "flow_stage.h"

#include <string.h>

/* ---- memory that runs out -------------------------------------------------------------------- */

static void limits_of_its_own(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    limits->max_live = 3;
    limits->group[0] = 7;
}

/* One get of a key with limits and a group of its own, each time with more memory: it is refused,
 * or it works and then leaves nothing behind. */
static void a_key_must_be_made_whole_or_not_at_all_where_memory_runs_out(void **state)
{
    struct stage s;
    kp_lease lease;
    int code = KP_ENOMEM;
    kp_stats stats;

    (void)state;
    for (int64_t memory = 0; code != 0; memory++) {
        assert_true(memory < 100);
        stage_set(&s);
        s.options.limits_for = limits_of_its_own;
        s.options.budget.group_max_live[0] = 5;
        stage_open(&s);
        s.allocations = memory;
        code = kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease);
        assert_true(code == 0 || code == KP_ENOMEM);
        s.allocations = -1;
        if (code != 0) {
            kp_lease second = stage_get(&s, "a");
            kp_release(&second);
        } else {
            kp_release(&lease);
        }
        assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
        assert_int_equal(stats.keys, 1);
        stage_fall(&s);
    }
}

/* ---- keys of one's own type ------------------------------------------------------------------ */

static int copy_result, copies, drops;

static uint64_t hash_one(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return seed + (uint64_t)*(const int *)key;
}

static bool equal_one(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const int *)a == *(const int *)b;
}

static int copy_one(const void *from, void *to, void *ctx)
{
    (void)ctx;
    if (copy_result != 0) return copy_result;
    memcpy(to, from, sizeof(int));
    copies++;
    return 0;
}

static void drop_one(void *copied, void *ctx)
{
    (void)copied;
    (void)ctx;
    drops++;
}

static void set_typed(struct stage *s)
{
    copy_result = copies = drops = 0;
    stage_set(s);
    s->options.key_type = (kp_key_type){ .size = sizeof(int), .hash = hash_one,
                                         .equal = equal_one, .copy = copy_one,
                                         .drop = drop_one };
}

static void a_key_that_cannot_be_copied_must_be_refused_with_a_code_of_the_table(void **state)
{
    struct stage s;
    kp_lease lease;
    kp_key pin;
    int key = 3;

    (void)state;
    set_typed(&s);
    stage_open(&s);
    copy_result = -77;
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), KP_ASK(.why = &s.why), &lease), KP_ENOMEM);
    assert_int_equal(s.why.code, KP_ENOMEM);
    assert_int_equal(kp_pin(s.pool, KP_KEY(&key), &pin), KP_ENOMEM);
    copy_result = 0;
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), NULL, &lease), 0);
    kp_release(&lease);
    stage_fall(&s);
    assert_int_equal(copies, drops);
}

static kp_pool *raced;

/* Another thread makes the same key while this one is being copied. */
static int copy_slowly(const void *from, void *to, void *ctx)
{
    kp_lease lease;
    kp_pool *pool = raced;

    raced = NULL;
    if (pool) {
        int key = *(const int *)from;
        assert_int_equal(kp_get(pool, KP_KEY(&key), NULL, &lease), 0);
        kp_release(&lease);
    }
    return copy_one(from, to, ctx);
}

static void a_key_that_somebody_else_made_meanwhile_must_be_used(void **state)
{
    struct stage s;
    kp_lease lease;
    kp_stats stats;
    int key = 3;

    (void)state;
    set_typed(&s);
    s.options.key_type.copy = copy_slowly;
    stage_open(&s);
    raced = s.pool;
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(s.made, 1);
    stage_fall(&s);
    assert_int_equal(copies, 2);
    assert_int_equal(drops, 2);
}

static int other_key;

static int copy_while_full(const void *from, void *to, void *ctx)
{
    kp_lease lease;
    kp_pool *pool = raced;

    raced = NULL;
    if (pool) {
        assert_int_equal(kp_get(pool, KP_KEY(&other_key), NULL, &lease), 0);
        kp_release(&lease);
    }
    return copy_one(from, to, ctx);
}

static void a_key_too_many_must_be_refused_however_late_it_turns_out(void **state)
{
    struct stage s;
    kp_lease lease;
    int key = 3;

    (void)state;
    other_key = 4;
    set_typed(&s);
    s.options.budget.max_keys = 1;
    s.options.key_type.copy = copy_while_full;
    stage_open(&s);
    raced = s.pool;
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), NULL, &lease), KP_EFULL);
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), NULL, &lease), KP_EFULL);
    stage_fall(&s);
    assert_int_equal(copies, drops);
}

static int copy_and_close(const void *from, void *to, void *ctx)
{
    kp_pool *pool = raced;

    raced = NULL;
    if (pool) (void)kp_pool_close(pool, KP_CLOSE_NOW, KP_NONE);
    return copy_one(from, to, ctx);
}

static void a_key_must_not_be_made_in_a_pool_that_was_closed_meanwhile(void **state)
{
    struct stage s;
    kp_lease lease;
    int key = 3;

    (void)state;
    set_typed(&s);
    s.options.key_type.copy = copy_and_close;
    stage_open(&s);
    raced = s.pool;
    assert_int_equal(kp_get(s.pool, KP_KEY(&key), NULL, &lease), KP_ECLOSED);
    assert_int_equal(copies, drops);
}

/* ---- limits asked for ------------------------------------------------------------------------ */

static int asked;

static void bad_limits(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    if (asked++ == 0) limits->max_live = -9;
    else limits->min_live = KP_NONE;
}

static void impossible_limits_of_a_key_must_refuse_its_first_get_only(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    asked = 0;
    stage_set(&s);
    s.options.limits_for = bad_limits;
    stage_open(&s);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ECONFIG);
    assert_string_equal(s.why.field, "limits.max_live");
    lease = stage_get(&s, "a");
    kp_release(&lease);
    assert_int_equal(asked, 2);
    stage_fall(&s);
}

static kp_limits follows_given;

static void look_at_limits(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    follows_given = *limits;
    if (asked++ == 0) return;
    limits->max_waiting = 5;
    limits->excess_over = 1;
}

/* What follows another number is shown as a number, and follows on if it is left as it was. */
static void limits_that_follow_others_must_be_shown_and_may_be_said(void **state)
{
    struct stage s;
    kp_limits limits = { .max_live = 1 };
    kp_why why;

    (void)state;
    asked = 0;
    stage_set(&s);
    s.options.limits_for = look_at_limits;
    s.options.limits.max_live = 3;
    stage_open(&s);
    kp_lease a = stage_get(&s, "a"), b = stage_get(&s, "b");
    assert_int_equal(follows_given.max_waiting, 4 * 3 + 64);
    assert_int_equal(follows_given.excess_over, 0);
    assert_int_equal(follows_given.surplus, 0);
    kp_release(&a);
    kp_release(&b);
    assert_int_equal(kp_limits_set(s.pool, kp_str("b"), &limits, &why), 0);
    stage_fall(&s);

    stage_set(&s);
    s.options.limits_for = look_at_limits;
    s.options.limits.max_live = KP_UNLIMITED;
    stage_open(&s);
    a = stage_get(&s, "a");
    assert_int_equal(follows_given.max_waiting, KP_UNLIMITED);
    kp_release(&a);
    stage_fall(&s);
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void a_pin_that_is_none_must_be_told(void **state)
{
    struct stage s, other;
    kp_lease lease;
    kp_key pin, copy, wrong;

    (void)state;
    stage_raise(&s);
    stage_raise(&other);
    assert_int_equal(kp_pin(s.pool, kp_str("a"), &pin), 0);
    assert_int_equal(kp_get(s.pool, pin, NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(kp_get(other.pool, pin, NULL, &lease), KP_EMISUSE); /* of another pool */
    kp_lease there = stage_get(&other, "x");
    assert_int_equal(kp_get(other.pool, pin, NULL, &lease), KP_EMISUSE);
    kp_release(&there);
    wrong = pin;
    wrong.data = (const void *)(uintptr_t)50; /* no such key */
    assert_int_equal(kp_get(s.pool, wrong, NULL, &lease), KP_EMISUSE);
    wrong = pin;
    wrong.size ^= 1; /* an older one */
    assert_int_equal(kp_get(s.pool, wrong, NULL, &lease), KP_EMISUSE);
    copy = pin;
    kp_unpin(s.pool, &pin);
    assert_null(pin.data);
    assert_int_equal(kp_get(s.pool, copy, NULL, &lease), KP_EMISUSE); /* unpinned */
    kp_unpin(s.pool, &copy);
    pin = kp_str("a");
    kp_unpin(s.pool, &pin); /* no pin at all */
    kp_unpin(NULL, &pin);
    assert_null(pin.data);
    stage_fall(&s);
    stage_fall(&other);
}

static void a_pin_of_a_forgotten_key_must_be_told(void **state)
{
    struct stage s;
    kp_lease lease;
    kp_key pin, copy;

    (void)state;
    stage_set(&s);
    s.options.forget_key_after_ms = KP_NONE;
    s.options.limits.idle_ttl_ms = 1;
    stage_open(&s);
    assert_int_equal(kp_pin(s.pool, kp_str("a"), &pin), 0);
    copy = pin;
    kp_unpin(s.pool, &pin);
    s.now += 1000000000;
    (void)kp_keep(s.pool);
    assert_int_equal(stage_heard(&s, KP_EVENT_KEY_FORGOTTEN), 1);
    assert_int_equal(kp_get(s.pool, copy, NULL, &lease), KP_EMISUSE);
    stage_fall(&s);
}

static void what_is_no_key_must_not_be_pinned(void **state)
{
    struct stage s;
    int key = 1;
    kp_key pin;
    kp_lease lease;

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_pin(s.pool, KP_KEY(&key), &pin), KP_EMISUSE);
    assert_int_equal(kp_pin(s.pool, KP_EVERY_KEY, &pin), KP_EMISUSE);
    assert_int_equal(kp_pin(NULL, kp_str("a"), &pin), KP_EMISUSE);
    assert_int_equal(kp_get(s.pool, KP_EVERY_KEY, NULL, &lease), KP_EMISUSE);
    stage_fall(&s);

    stage_set(&s);
    s.options.budget.max_keys = 1;
    stage_open(&s);
    lease = stage_get(&s, "a");
    assert_int_equal(kp_pin(s.pool, kp_str("b"), &pin), KP_EFULL);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- warm ------------------------------------------------------------------------------------ */

static void warming_must_end_at_the_earlier_of_its_two_times(void **state)
{
    static const struct {
        int64_t within_ms;
        uint64_t until_ms, waits_ms;
    } cases[] = { { 30, 0, 30 }, { 30, 20, 20 }, { 20, 30, 20 }, { 0, 25, 25 }, { 0, 0, 30000 } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage s;
        kp_key key = kp_str("a");
        stage_set(&s);
        s.options.limits.max_live = 1;
        s.options.limits.min_live = 1;
        stage_open(&s);
        kp_lease lease = stage_get(&s, "a");
        kp_discard(&lease);
        s.create = KP_PENDING;
        uint64_t before = s.now;
        kp_ask ask = { .within_ms = cases[i].within_ms, .why = &s.why };
        if (cases[i].until_ms) ask.until.ns = s.now + cases[i].until_ms * 1000000;
        assert_int_equal(kp_warm(s.pool, &key, 1, &ask), 0);
        assert_int_equal(s.why.code, KP_ETIMEDOUT);
        if (s.now - before != cases[i].waits_ms * 1000000)
            fail_msg("case %zu: %llu", i, (unsigned long long)(s.now - before));
        s.create = 0;
        kp_job_done(s.job, -1, NULL);
        stage_fall(&s);
    }
}

static void warming_what_is_no_key_or_in_a_closed_pool_must_tell_why(void **state)
{
    struct stage s;
    int number = 1;
    kp_key keys[2] = { KP_KEY(&number), kp_str("a") };

    (void)state;
    stage_set(&s);
    s.options.budget.max_keys = 1;
    stage_open(&s);
    assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.why = &s.why)), 1);
    keys[1] = kp_str("b");
    assert_int_equal(kp_warm(s.pool, keys + 1, 1, KP_ASK(.why = &s.why)), 0);
    assert_int_equal(s.why.code, KP_EFULL);
    assert_int_equal(kp_warm(NULL, keys, 1, NULL), KP_EMISUSE);
    stage_fall(&s);
    assert_int_equal(kp_warm(s.pool, keys + 1, 1, KP_ASK(.why = &s.why)), KP_ECLOSED);
}

/* ---- add and invalidate ---------------------------------------------------------------------- */

static void what_is_given_must_fit_into_every_limit(void **state)
{
    struct stage s;
    static char things[8];
    int number = 1;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 4;
    s.options.limits.max_idle = 2;
    s.options.budget.max_idle = 3;
    stage_open(&s);
    assert_int_equal(kp_add(s.pool, KP_KEY(&number), &things[0]), KP_EMISUSE);
    assert_int_equal(kp_add(NULL, kp_str("a"), &things[0]), KP_EMISUSE);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[0]), 0);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[0]), KP_EMISUSE);
    assert_int_equal(kp_add(s.pool, kp_str("a"), NULL), KP_EMISUSE);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[1]), 0);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[2]), KP_EFULL); /* max_idle */
    assert_int_equal(kp_add(s.pool, kp_str("b"), &things[2]), 0);
    assert_int_equal(kp_add(s.pool, kp_str("b"), &things[3]), KP_EFULL); /* budget.max_idle */
    kp_lease a = stage_get(&s, "a"), b = stage_get(&s, "a"), c = stage_get(&s, "a"),
             d = stage_get(&s, "a");
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[3]), KP_EFULL); /* max_live */
    assert_int_equal(kp_invalidate(s.pool, &s), 0);
    assert_int_equal(kp_invalidate(NULL, &s), KP_EMISUSE);
    assert_int_equal(kp_invalidate_key(NULL, kp_str("a")), KP_EMISUSE);
    kp_release(&a);
    kp_release(&b);
    kp_release(&c);
    kp_release(&d);
    stage_fall(&s);
    assert_int_equal(kp_invalidate(s.pool, &s), 0);
    assert_int_equal(kp_invalidate_key(s.pool, kp_str("a")), 0);
    assert_int_equal(kp_add(s.pool, kp_str("a"), &things[0]), KP_ECLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_must_be_made_whole_or_not_at_all_where_memory_runs_out),
        cmocka_unit_test(a_key_that_cannot_be_copied_must_be_refused_with_a_code_of_the_table),
        cmocka_unit_test(a_key_that_somebody_else_made_meanwhile_must_be_used),
        cmocka_unit_test(a_key_too_many_must_be_refused_however_late_it_turns_out),
        cmocka_unit_test(a_key_must_not_be_made_in_a_pool_that_was_closed_meanwhile),
        cmocka_unit_test(impossible_limits_of_a_key_must_refuse_its_first_get_only),
        cmocka_unit_test(limits_that_follow_others_must_be_shown_and_may_be_said),
        cmocka_unit_test(a_pin_that_is_none_must_be_told),
        cmocka_unit_test(a_pin_of_a_forgotten_key_must_be_told),
        cmocka_unit_test(what_is_no_key_must_not_be_pinned),
        cmocka_unit_test(warming_must_end_at_the_earlier_of_its_two_times),
        cmocka_unit_test(warming_what_is_no_key_or_in_a_closed_pool_must_tell_why),
        cmocka_unit_test(what_is_given_must_fit_into_every_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
