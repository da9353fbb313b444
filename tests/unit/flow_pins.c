/* SPDX-License-Identifier: MIT
 *
 * Tests of pins wherever a key can be passed: one that holds is that key, and one that does not is
 * misuse and has no other effect (R4).
 */
#include "flow_stage.h"

#include <string.h>

/* A key with one idle resource, and a pin of it that was given up. */
static kp_key stale_pin(struct stage *s)
{
    kp_lease lease = stage_get(s, "a");
    kp_key pin, copy;

    kp_release(&lease);
    assert_int_equal(kp_pin(s->pool, kp_str("a"), &pin), 0);
    copy = pin;
    kp_unpin(s->pool, &pin);
    return copy;
}

static void a_call_with_a_pin_that_is_over_must_be_misuse_and_nothing_else(void **state)
{
    struct stage s;
    kp_stats stats;
    kp_limits limits = { .max_live = 1 };

    (void)state;
    stage_raise(&s);
    kp_key pin = stale_pin(&s);
    assert_int_equal(kp_evict(s.pool, pin, KP_NONE), KP_EMISUSE);
    assert_int_equal(kp_drain(s.pool, pin, KP_NONE), KP_EMISUSE);
    assert_int_equal(kp_drop(s.pool, pin, KP_NONE), KP_EMISUSE);
    assert_int_equal(kp_rotate(s.pool, pin, KP_NONE), KP_EMISUSE);
    assert_int_equal(kp_invalidate_key(s.pool, pin), KP_EMISUSE);
    assert_int_equal(kp_retry_now(s.pool, pin), KP_EMISUSE);
    assert_int_equal(kp_add(s.pool, pin, &s), KP_EMISUSE);
    assert_int_equal(kp_stats_read(s.pool, pin, &stats), KP_EMISUSE);
    assert_int_equal(kp_limits_set(s.pool, pin, &limits, &s.why), KP_EMISUSE);
    assert_non_null(strstr(s.why.text, "was unpinned"));
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.misuses, 9);
    assert_int_equal(stats.idle, 1);
    stage_fall(&s);
}

static uint64_t epoch;

static int note_epoch(kp_job *job, void **resource)
{
    epoch = job->epoch;
    return stage_create(job, resource);
}

static void rotating_a_pin_that_is_over_must_not_begin_an_epoch(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.driver.create = note_epoch;
    stage_open(&s);
    kp_key pin = stale_pin(&s);
    (void)kp_rotate(s.pool, pin, KP_NONE);
    kp_lease lease = stage_get(&s, "b");
    assert_int_equal(epoch, 1);
    kp_release(&lease);
    stage_fall(&s);
}

/* `refusals` are the gets that failed, except by misuse. */
static void a_get_by_a_pin_that_is_over_must_not_count_as_refused(void **state)
{
    struct stage s;
    kp_stats stats;
    kp_lease none;

    (void)state;
    stage_raise(&s);
    kp_key pin = stale_pin(&s);
    assert_int_equal(kp_get(s.pool, pin, KP_ASK(.why = &s.why), &none), KP_EMISUSE);
    assert_non_null(strstr(s.why.text, "was unpinned"));
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.misuses, 1);
    assert_int_equal(stats.refusals, 0);
    stage_fall(&s);
}

static void the_text_of_a_pin_must_be_that_of_its_key(void **state)
{
    struct stage s;
    kp_key pin, copy;
    char text[40];

    (void)state;
    stage_raise(&s);
    assert_int_equal(kp_pin(s.pool, kp_str("a\n"), &pin), 0);
    assert_int_equal(kp_key_text(s.pool, pin, text, sizeof text), 5);
    assert_string_equal(text, "a\\x0a");
    copy = pin;
    kp_unpin(s.pool, &pin);
    (void)kp_key_text(s.pool, copy, text, sizeof text);
    assert_string_equal(text, "(not a key of this pool)");
    stage_fall(&s);
}

/* ---- a key that another call makes faster ---- */

static uint64_t hash_of(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)key + seed;
}

static bool are_equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

static void drop_nothing(void *copied, void *ctx)
{
    (void)copied, (void)ctx;
}

/* Meanwhile another call makes the key. */
static int copy_late(const void *from, void *to, void *ctx)
{
    struct stage *s = ctx;
    kp_lease lease;

    *(uint64_t *)to = *(const uint64_t *)from;
    if (s->with) return 0;
    s->with = to;
    assert_int_equal(kp_get(s->pool, KP_KEY((const uint64_t *)from), NULL, &lease), 0);
    kp_release(&lease);
    return 0;
}

static void a_pin_of_a_key_that_another_made_faster_must_be_had(void **state)
{
    const uint64_t number = 7;
    struct stage s;
    kp_key pin;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.key_type = (kp_key_type){ .size = sizeof number, .hash = hash_of, .equal = are_equal,
                                        .copy = copy_late, .drop = drop_nothing, .ctx = &s };
    stage_open(&s);
    assert_int_equal(kp_pin(s.pool, KP_KEY(&number), &pin), 0);
    assert_non_null(s.with);
    assert_int_equal(kp_get(s.pool, pin, NULL, &lease), 0);
    assert_ptr_equal(lease.resource, &s.resources[0]);
    kp_release(&lease);
    kp_unpin(s.pool, &pin);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_with_a_pin_that_is_over_must_be_misuse_and_nothing_else),
        cmocka_unit_test(rotating_a_pin_that_is_over_must_not_begin_an_epoch),
        cmocka_unit_test(a_get_by_a_pin_that_is_over_must_not_count_as_refused),
        cmocka_unit_test(the_text_of_a_pin_must_be_that_of_its_key),
        cmocka_unit_test(a_pin_of_a_key_that_another_made_faster_must_be_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
