/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/warm.c: kp_warm where there is no memory for what it would have made, and what
 * it tells.
 */
#include "flow_stage.h"

enum { MANY = 1000 };

static int refused; /* allocations */

/* Out of memory; but after so many refusals there is some again, or the test would not end. */
static void *scarce(size_t size, size_t align, void *ctx)
{
    struct stage *s = ctx;

    if (s->allocations == 0 && ++refused == MANY) s->allocations = -1;
    return stage_alloc(size, align, ctx);
}

/* Warm a key that is there already, where each resource needs memory of its own (seats to share).
 */
static int64_t warm_without_memory(struct stage *s, kp_why *why)
{
    kp_key pin, key = kp_str("a");

    stage_open(s);
    assert_int_equal(kp_pin(s->pool, key, &pin), 0);
    refused = 0;
    s->allocations = 0;
    int64_t warm = kp_warm(s->pool, &key, 1, KP_ASK(.within_ms = 100, .why = why));
    s->allocations = -1;
    return warm;
}

static void a_warm_up_must_end_where_there_is_no_memory(void **state)
{
    struct stage s;
    kp_why why;

    (void)state;
    stage_set(&s);
    s.world.alloc = scarce;
    s.options.limits.sharing = 2;
    assert_int_equal(warm_without_memory(&s, &why), 0);
    assert_int_equal(why.code, KP_ENOMEM);
    assert_true(refused < MANY);
    stage_fall(&s);
}

/* The same where the pool's own threads make them: the caller asks for all at once. */
static void a_warm_up_by_threads_must_end_where_there_is_no_memory(void **state)
{
    static struct stage s; /* a thread of the pool may leave it a moment later */
    kp_why why;

    (void)state;
    stage_set(&s);
    s.world = (kp_world){ .alloc = scarce, .free = stage_free, .ctx = &s };
    s.options.threads = 1;
    s.options.limits.sharing = 2;
    assert_int_equal(warm_without_memory(&s, &why), 0);
    assert_int_equal(why.code, KP_ENOMEM);
    assert_true(refused < MANY);
    stage_fall(&s);
}

/* ---- told once ------------------------------------------------------------------------------- */

static int misuses; /* told by the calling thread only */

static void count_misuse(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_MISUSE) misuses++;
}

/* Where the pool's own threads make them, the keys are gone through twice. */
static void a_key_that_is_none_must_be_told_once_to_who_warms_it(void **state)
{
    static struct stage s;
    kp_key keys[] = { KP_EVERY_KEY, { "a", 1 } };
    kp_stats stats;
    kp_why why;

    (void)state;
    stage_set(&s);
    s.options.world = NULL;
    s.options.threads = 1;
    s.options.on_event = count_misuse;
    stage_open(&s);
    misuses = 0;
    assert_int_equal(kp_warm(s.pool, keys, 2, KP_ASK(.within_ms = 10000, .why = &why)), 1);
    assert_int_equal(why.code, KP_EMISUSE);
    assert_int_equal(kp_stats_read(s.pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.misuses, 1);
    assert_int_equal(misuses, 1);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_is_none_must_be_told_once_to_who_warms_it),
        cmocka_unit_test(a_warm_up_must_end_where_there_is_no_memory),
        cmocka_unit_test(a_warm_up_by_threads_must_end_where_there_is_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
