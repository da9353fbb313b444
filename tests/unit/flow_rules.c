/* SPDX-License-Identifier: MIT
 *
 * Tests of a key whose limits are being asked for: what its requests are told if they are refused,
 * and what counts if the pool's own change, or another key makes the same group, meanwhile.
 */
#include "flow_stage.h"

#include <keyedpool/loop.h>

#include "core/budget.h"

static struct {
    struct stage s;
    kp_request request, silent;
    kp_why why;
    int answered, code;
} scene;

static void done(kp_request *request, int code, kp_lease lease)
{
    (void)request;
    if (scene.answered++ > 0) assert_int_equal(code, scene.code);
    scene.code = code;
    kp_release(&lease);
}

/* Two requests come while it is asked, one without a why; what it writes then is refused. */
static void ask_meanwhile(kp_key key, kp_limits *limits, void *ctx)
{
    kp_ask ask = { .why = &scene.why };

    (void)ctx;
    assert_int_equal(kp_get_start(scene.s.pool, key, &ask, &scene.request), 0);
    assert_int_equal(kp_get_start(scene.s.pool, key, NULL, &scene.silent), 0);
    limits->min_live = limits->max_live + 1;
}

static void who_waits_for_limits_that_are_refused_must_be_told_the_field(void **state)
{
    kp_lease none;

    (void)state;
    stage_set(&scene.s);
    scene.s.options.limits_for = ask_meanwhile;
    scene.s.options.driver.flags = KP_NEVER_BLOCKS;
    stage_open(&scene.s);
    scene.request = (kp_request){ .done = done };
    assert_int_equal(kp_loop_open(&scene.request.loop), 0);
    scene.silent = scene.request;
    assert_int_equal(kp_get(scene.s.pool, kp_str("a"), NULL, &none), KP_ECONFIG);
    (void)kp_loop_dispatch(scene.request.loop);
    assert_int_equal(scene.answered, 2);
    assert_int_equal(scene.code, KP_ECONFIG);
    assert_int_equal(scene.why.code, KP_ECONFIG);
    assert_string_equal(scene.why.field, "limits.min_live");
    assert_string_equal(scene.why.text, "limits.min_live: is above limits.max_live");
    assert_int_equal(kp_loop_close(scene.request.loop), 0);
    stage_fall(&scene.s);
}

/* ---- the pool's own change meanwhile --------------------------------------------------------- */

static struct stage *in_alloc;
static int skip;                        /* so many allocations before it happens */

static void *busy_alloc(size_t size, size_t align, void *ctx)
{
    kp_limits limits = { .max_live = 2 };
    struct stage *s = in_alloc;

    if (s && skip-- == 0) {
        in_alloc = NULL;
        assert_int_equal(kp_limits_set(s->pool, KP_EVERY_KEY, &limits, &s->why), 0);
    }
    return stage_alloc(size, align, ctx);
}

static void keep_three(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    limits->max_idle = 3;
}

/* At any allocation of the key's first get. */
static void limits_set_for_all_must_count_for_a_key_that_is_being_made(void **state)
{
    (void)state;
    for (int n = 0; n < 8; n++) {
        struct stage s;
        kp_lease leases[3];
        stage_set(&s);
        s.world.alloc = busy_alloc;
        s.options.limits_for = keep_three;
        stage_open(&s);
        in_alloc = &s;
        skip = n;
        for (int i = 0; i < 2; i++) leases[i] = stage_get(&s, "a");
        bool happened = in_alloc == NULL;
        in_alloc = NULL;
        assert_true(happened || n > 0);
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_DONT_WAIT), &leases[2]),
                         happened ? KP_EAGAIN : 0);
        for (int i = 0; i < (happened ? 2 : 3); i++) kp_release(&leases[i]);
        stage_fall(&s);
    }
}

/* ---- a configuration that is read anew meanwhile --------------------------------------------- */

static struct { kp_pool *pool; int64_t most; } config;

static int set_from_config(kp_key key, const kp_stats *stats, void *arg)
{
    const kp_limits limits = { .max_live = config.most };

    (void)stats;
    *(int *)arg = kp_limits_set(config.pool, key, &limits, NULL);
    return 0;
}

/* It changes when this key has just read it. */
static void read_config(kp_key key, kp_limits *limits, void *ctx)
{
    int rc = 0;

    (void)key;
    (void)ctx;
    limits->max_live = config.most;
    config.most = 7;
    assert_int_equal(kp_each_key(config.pool, set_from_config, &rc), 0);
    assert_int_equal(rc, KP_ENOTFOUND);
}

static void set_if_made(const kp_event *event, void *ctx)
{
    int rc = 0;

    (void)ctx;
    if (event->kind != KP_EVENT_KEY_MADE) return;
    assert_int_equal(set_from_config(event->key, NULL, &rc), 0);
    assert_int_equal(rc, 0);
}

static void a_key_that_was_being_made_must_take_limits_when_it_is_told(void **state)
{
    struct stage s;
    kp_limits limits;

    (void)state;
    stage_set(&s);
    s.options.limits_for = read_config;
    s.options.on_event = set_if_made;
    config.most = 3;
    stage_open(&s);
    config.pool = s.pool;
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_limits_read(s.pool, kp_str("a"), &limits), 0);
    assert_int_equal(limits.max_live, 7);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- the same group meanwhile ---------------------------------------------------------------- */

static kp_lease second;

/* While the first key has memory allocated for its group, a second one comes and makes it. */
static void *alloc_slowly(size_t size, size_t align, void *ctx)
{
    struct stage *s = ctx;

    if (size == sizeof(struct kp__group) && !s->with) {
        s->with = &second;
        second = stage_get(s, "b");
    }
    return stage_alloc(size, align, ctx);
}

static void a_group_that_two_keys_make_at_once_must_be_one(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.world.alloc = alloc_slowly;
    s.options.limits.group[0] = 5;
    s.options.budget.group_max_live[0] = 2;
    stage_open(&s);
    kp_lease first = stage_get(&s, "a");
    assert_ptr_equal(s.with, &second);
    for (int i = 0; i < 2; i++) {
        kp_ask ask = { .within_ms = 10, .why = &s.why };
        assert_int_equal(kp_get(s.pool, kp_str(i ? "a" : "b"), &ask, &none), KP_ETIMEDOUT);
        assert_string_equal(s.why.limit, "budget.group_max_live");
    }
    kp_release(&first);
    kp_release(&second);
    stage_fall(&s);
}

static void *alloc_no_group(size_t size, size_t align, void *ctx)
{
    return size == sizeof(struct kp__group) ? NULL : stage_alloc(size, align, ctx);
}

static void a_group_for_which_there_is_no_memory_must_be_refused_in_words(void **state)
{
    const kp_limits grouped = { .group[0] = 5 };
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.world.alloc = alloc_no_group;
    s.options.budget.group_max_live[0] = 2;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_limits_set(s.pool, kp_str("a"), &grouped, &s.why), KP_ENOMEM);
    assert_int_equal(s.why.code, KP_ENOMEM);
    assert_string_equal(s.why.text, kp_strerror(KP_ENOMEM));
    kp_release(&lease);
    assert_int_equal(kp_limits_set(s.pool, KP_EVERY_KEY, &grouped, &s.why), KP_ENOMEM);
    stage_fall(&s);
    s.options.limits.group[0] = 5;
    stage_open(&s);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &none), KP_ENOMEM);
    assert_int_equal(s.why.code, KP_ENOMEM);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_limits_that_are_refused_must_be_told_the_field),
        cmocka_unit_test(limits_set_for_all_must_count_for_a_key_that_is_being_made),
        cmocka_unit_test(a_key_that_was_being_made_must_take_limits_when_it_is_told),
        cmocka_unit_test(a_group_that_two_keys_make_at_once_must_be_one),
        cmocka_unit_test(a_group_for_which_there_is_no_memory_must_be_refused_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
