/* SPDX-License-Identifier: MIT
 *
 * kp_limits_read and kp_budget_read: each field of limits and budget reads as it was said, its
 * default if it was not; and what was read changes nothing when it is set. The lists of
 * unit/options.h are complete, so a new field is tested, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "unit/options.h"

#define K kp_str("k")

/* Every field is said here, as what it is in a pool that says nothing. */
static const kp_limits limits_unsaid = {
    .min_live = KP_NONE, .max_live = 10, .max_lent = KP_UNLIMITED, .max_idle = KP_UNLIMITED,
    .min_idle = KP_NONE, .max_creating = 2, .max_waiting = 4 * 10 + 64, .sharing = 1,
    .utilization_pct = 100, .idle_ttl_ms = KP_MINUTES(10), .excess_ttl_ms = KP_OFF,
    .max_age_ms = KP_MINUTES(30), .age_spread_pct = 20, .excess_over = KP_NONE,
    .create_timeout_ms = KP_OFF, .validate_timeout_ms = KP_OFF, .validate_after_ms = 1000,
    .retry_first_ms = 100, .retry_max_ms = KP_SECONDS(30), .cache_failure_ms = KP_NONE,
    .breaker_failures = KP_OFF, .breaker_open_ms = KP_SECONDS(30), .shed_target_ms = KP_OFF,
    .shed_interval_ms = 100, .reserve = KP_NONE, .reserve_after_ms = KP_SECONDS(5), .weight = 1,
    .floor = KP_NONE, .group = { KP_NONE, KP_NONE }, .prefill = KP_PREFILL_FIRST_GET,
    .refill = KP_REFILL_LAZY, .wait_order = KP_FIFO, .idle_order = KP_LIFO,
    .on_create_failure = KP_FAIL_REQUEST, .on_return = KP_REUSE, .over_idle = KP_DROP_RETURNED,
    .idle_check = KP_CHECK_GET | KP_CHECK_KEEPER, .excess_check = KP_CHECK_GET | KP_CHECK_KEEPER,
    .age_check = KP_CHECK_GET | KP_CHECK_KEEPER, .validate_on = KP_CHECK_GET,
    .respects_min = KP_KIND_IDLE | KP_KIND_EXCESS, .breaker_counts = KP_BREAK_CREATE,
    .fail_fast = KP_OFF, .max_uses = KP_UNLIMITED, .validate_every_ms = KP_SECONDS(30),
    .on_gone = KP_GONE_TEST, .renew_ahead_ms = KP_OFF, .surplus = KP_NONE,
    .breaker_rate_pct = KP_OFF, .breaker_window_ms = KP_SECONDS(10), .breaker_calls = 20,
    .breaker_probes = 1, .refuse_late = KP_OFF, .revoke_after_ms = KP_OFF
};
static const kp_budget budget_unsaid = {
    .max_live = KP_UNLIMITED, .max_lent = KP_UNLIMITED, .max_idle = KP_UNLIMITED,
    .max_creating = KP_UNLIMITED, .max_waiting = KP_UNLIMITED, .max_keys = KP_UNLIMITED,
    .group_max_live = { KP_UNLIMITED, KP_UNLIMITED }, .evict_other_keys = 1,
    .across = KP_ACROSS_SHARE, .create_rate = KP_UNLIMITED, .create_burst = 0
};

static int make(kp_job *job, void **out)
{
    return (void)job, (void)out, -1;
}

static int end(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static void hear_nothing(const kp_event *event, void *ctx)
{
    (void)event, (void)ctx;
}

/* A pool with one key, K. */
static kp_pool *open_with(kp_options options)
{
    kp_why why = { .code = 0 };
    kp_pool *pool;
    kp_key pinned;

    options.driver = (kp_driver){ .create = make, .destroy = end, .validate = end, .revoke = end };
    options.threads = KP_NONE;
    options.why = &why;
    if (kp_pool_open(&options, &pool) != 0) fail_msg("%s", why.text);
    assert_int_equal(kp_pin(pool, K, &pinned), 0);
    return pool;
}

static void close_all(kp_pool *pool)
{
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
}

static kp_limits limits_of(kp_pool *pool, kp_key key)
{
    kp_limits limits;

    assert_int_equal(kp_limits_read(pool, key, &limits), 0);
    return limits;
}

static kp_budget budget_of(kp_pool *pool)
{
    kp_budget budget;

    assert_int_equal(kp_budget_read(pool, &budget), 0);
    return budget;
}

static void set_limits(kp_pool *pool, kp_key key, kp_limits limits)
{
    kp_why why;

    if (kp_limits_set(pool, key, &limits, &why) != 0) fail_msg("%s", why.text);
}

static void set_budget(kp_pool *pool, kp_budget budget)
{
    kp_why why;

    if (kp_budget_set(pool, &budget, &why) != 0) fail_msg("%s", why.text);
}

/* ---- each field ------------------------------------------------------------------------------ */

static bool is_of(const struct field *f, const char *prefix)
{
    return strncmp(f->name, prefix, strlen(prefix)) == 0;
}

static void put(kp_options *o, const struct field *f, int64_t value)
{
    int32_t narrow = (int32_t)value;

    if (f->size == sizeof value) memcpy((char *)o + f->offset, &value, sizeof value);
    else memcpy((char *)o + f->offset, &narrow, sizeof narrow);
}

static int64_t of(const kp_options *o, const struct field *f)
{
    int64_t wide;
    int32_t narrow;

    if (f->size == sizeof wide)
        return memcpy(&wide, (const char *)o + f->offset, sizeof wide), wide;
    return memcpy(&narrow, (const char *)o + f->offset, sizeof narrow), narrow;
}

static void what_was_not_said_must_read_as_its_default(void **state)
{
    kp_pool *pool = open_with((kp_options){ 0 });
    kp_limits one = limits_of(pool, K), all = limits_of(pool, KP_EVERY_KEY);
    kp_budget budget = budget_of(pool);
    kp_options o = { .limits = one, .budget = budget };

    (void)state;
    for (size_t i = 0; i < FIELDS; i++)
        if ((is_of(&fields[i], "limits.") || is_of(&fields[i], "budget.")) && !of(&o, &fields[i]))
            assert_string_equal(fields[i].name, "budget.create_burst"); /* there is no rate */
    assert_memory_equal(&one, &limits_unsaid, sizeof one);
    assert_memory_equal(&all, &limits_unsaid, sizeof all);
    assert_memory_equal(&budget, &budget_unsaid, sizeof budget);
    close_all(pool);
}

/* In a pool where this field of this key, or of the budget, has this value: it reads so, and is set
 * as it was read, and back to what it was before. */
static void try_limit(const struct field *f, int64_t value)
{
    kp_pool *pool = open_with((kp_options){ 0 });
    kp_options o = { 0 }, now = { 0 };
    kp_limits before = limits_of(pool, K), all = limits_of(pool, KP_EVERY_KEY), again;

    put(&o, f, value);
    if (kp_limits_set(pool, K, &o.limits, NULL) == 0) {
        now.limits = limits_of(pool, K);
        if (of(&now, f) != value) fail_msg("%s: %lld", f->name, (long long)of(&now, f));
        set_limits(pool, K, now.limits);
        again = limits_of(pool, K);
        assert_memory_equal(&again, &now.limits, sizeof again);
        again = limits_of(pool, KP_EVERY_KEY);
        assert_memory_equal(&again, &all, sizeof again);
        set_limits(pool, K, before);
        again = limits_of(pool, K);
        assert_memory_equal(&again, &before, sizeof again);
        set_limits(pool, KP_EVERY_KEY, now.limits);
        again = limits_of(pool, KP_EVERY_KEY);
        assert_memory_equal(&again, &now.limits, sizeof again);
        again = limits_of(pool, K);
        assert_memory_equal(&again, &now.limits, sizeof again);
    } else {
        assert_int_not_equal(value, f->value);
    }
    close_all(pool);
}

static void try_budget(const struct field *f, int64_t value)
{
    const kp_budget counted = { .group_max_live = { 9, 9 }, .create_rate = 7 };
    kp_pool *pool = open_with((kp_options){ .budget = counted });
    kp_options o = { 0 }, now = { 0 };
    kp_budget before = budget_of(pool), again;

    put(&o, f, value);
    if (kp_budget_set(pool, &o.budget, NULL) == 0) {
        now.budget = budget_of(pool);
        if (of(&now, f) != value) fail_msg("%s: %lld", f->name, (long long)of(&now, f));
        set_budget(pool, now.budget);
        again = budget_of(pool);
        assert_memory_equal(&again, &now.budget, sizeof again);
        set_budget(pool, before);
        again = budget_of(pool);
        assert_memory_equal(&again, &before, sizeof again);
    } else {
        assert_int_not_equal(value, f->value);
    }
    close_all(pool);
}

static void what_was_said_must_read_so_and_be_set_as_it_was_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        const int64_t values[] = { fields[i].value, KP_NONE, KP_UNLIMITED, KP_OFF, KP_ONCE, 1 };
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            if (is_of(&fields[i], "limits.")) try_limit(&fields[i], values[k]);
            if (is_of(&fields[i], "budget.")) try_budget(&fields[i], values[k]);
        }
    }
}

/* The same when it was said at open, and as text. */
static void what_was_said_at_open_must_read_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < FIELDS; i++) {
        bool limit = is_of(&fields[i], "limits."), budget = is_of(&fields[i], "budget.");
        kp_options o = { .limits = { .breaker_failures = KP_OFF, .breaker_rate_pct = KP_OFF },
                         .budget = { .create_rate = 7 } };
        kp_options now = { 0 };
        if (!limit && !budget) continue;
        assert_int_equal(kp_options_set(&o, fields[i].name, fields[i].text), 0);
        kp_pool *pool = open_with(o);
        now.limits = limits_of(pool, K);
        now.budget = budget_of(pool);
        assert_int_equal(of(&now, &fields[i]), fields[i].value);
        close_all(pool);
    }
}

/* ---- what follows from another number -------------------------------------------------------- */

static void a_limit_that_follows_must_follow_on_when_it_is_set_as_it_was_read(void **state)
{
    const kp_limits other = { .max_live = 20, .min_live = 3, .renew_ahead_ms = 1000 };
    const kp_key keys[] = { K, KP_EVERY_KEY };

    (void)state;
    for (int i = 0; i < 2; i++) {
        kp_pool *pool = open_with((kp_options){ 0 });
        kp_limits before = limits_of(pool, K), now;
        set_limits(pool, keys[i], before);
        set_limits(pool, keys[i], other);
        now = limits_of(pool, K);
        assert_int_equal(now.max_waiting, 4 * 20 + 64);
        assert_int_equal(now.excess_over, 3);
        assert_int_equal(now.surplus, 1);
        set_limits(pool, keys[i], before); /* and back, and once more */
        set_limits(pool, keys[i], other);
        now = limits_of(pool, keys[i]);
        assert_int_equal(now.max_waiting, 4 * 20 + 64);
        assert_int_equal(now.excess_over, 3);
        assert_int_equal(now.surplus, 1);
        close_all(pool);
    }
}

static void a_limit_that_was_said_must_not_begin_to_follow(void **state)
{
    const kp_limits said = { .max_waiting = 5, .excess_over = 7, .surplus = 2 };
    const kp_limits as_if = { .max_waiting = 4 * 10 + 64 };
    kp_pool *pool = open_with((kp_options){ .limits = as_if });
    kp_limits now;

    (void)state;
    set_limits(pool, K, limits_of(pool, K));
    set_limits(pool, K, (kp_limits){ .max_live = 20 });
    assert_int_equal(limits_of(pool, K).max_waiting, 4 * 10 + 64);
    set_limits(pool, K, said);
    set_limits(pool, K, limits_of(pool, K));
    set_limits(pool, K, (kp_limits){ .max_live = 30, .min_live = 3, .renew_ahead_ms = 1000 });
    now = limits_of(pool, K);
    assert_int_equal(now.max_waiting, 5);
    assert_int_equal(now.excess_over, 7);
    assert_int_equal(now.surplus, 2);
    close_all(pool);
}

static void a_burst_that_follows_must_follow_on_when_it_is_set_as_it_was_read(void **state)
{
    const kp_budget endless = { .create_rate = KP_UNLIMITED, .create_burst = KP_UNLIMITED };
    kp_pool *pool = open_with((kp_options){ .budget = { .create_rate = 10 } });
    kp_budget before = budget_of(pool);

    (void)state;
    assert_int_equal(before.create_burst, 10);
    set_budget(pool, before);
    set_budget(pool, (kp_budget){ .create_rate = 20 });
    assert_int_equal(budget_of(pool).create_burst, 20);
    set_budget(pool, (kp_budget){ .create_rate = KP_UNLIMITED });
    assert_int_equal(budget_of(pool).create_burst, 0);
    set_budget(pool, before);
    set_budget(pool, (kp_budget){ .create_rate = 30 });
    assert_int_equal(budget_of(pool).create_burst, 30);
    assert_int_equal(kp_budget_set(pool, &endless, NULL), KP_ECONFIG); /* though both are equal */
    set_budget(pool, (kp_budget){ .create_burst = 4 });
    set_budget(pool, budget_of(pool));
    set_budget(pool, (kp_budget){ .create_rate = 40 });
    assert_int_equal(budget_of(pool).create_burst, 4);
    close_all(pool);
}

/* ---- more keys than the budget has room for -------------------------------------------------- */

/* They were let in, which was reported; to set what holds is no more than before. */
static void what_all_keys_keep_already_must_be_set_as_it_was_read(void **state)
{
    const kp_limits keep[] = { { .min_live = 2, .prefill = KP_PREFILL_NONE }, { .floor = 2 } };
    const kp_budget least[] = { { .max_live = 4 }, { .max_lent = 4 } };
    kp_key pinned;

    (void)state;
    for (int i = 0; i < 3; i++) {
        kp_limits raised = { .min_live = i == 0 ? 3 : 0, .floor = i == 0 ? 0 : 3 };
        kp_options options = { .limits = keep[i > 0], .budget = least[i > 1] };
        kp_why why;
        options.on_event = hear_nothing;
        kp_pool *pool = open_with(options);
        assert_int_equal(kp_pin(pool, kp_str("l"), &pinned), 0);
        assert_int_equal(kp_pin(pool, kp_str("m"), &pinned), 0); /* one too many */
        set_limits(pool, KP_EVERY_KEY, limits_of(pool, KP_EVERY_KEY));
        set_budget(pool, budget_of(pool));
        assert_int_equal(kp_limits_set(pool, KP_EVERY_KEY, &raised, &why), KP_ECONFIG);
        assert_string_equal(why.field, i == 0 ? "limits.min_live" : "limits.floor");
        close_all(pool);
    }
}

/* ---- keys that are not there ----------------------------------------------------------------- */

static struct {
    kp_pool *pool;
    int asked, code;
} shop;

static void own_limits(kp_key key, kp_limits *limits, void *ctx)
{
    kp_limits now = limits_unsaid;

    (void)ctx;
    shop.asked++;
    limits->max_live = (int64_t)key.size;
    if (!shop.pool) return;
    shop.code = kp_limits_read(shop.pool, key, &now);
    assert_memory_equal(&now, &(kp_limits){ 0 }, sizeof now);
}

static void a_key_must_read_as_limits_for_left_it_and_others_not_at_all(void **state)
{
    kp_limits now = limits_unsaid;
    kp_stats stats;
    kp_key pinned;

    (void)state;
    shop.pool = NULL;
    kp_pool *pool = shop.pool = open_with((kp_options){ .limits_for = own_limits });
    assert_int_equal(shop.asked, 1);
    assert_int_equal(kp_limits_read(pool, kp_str("new"), &now), KP_ENOTFOUND);
    assert_memory_equal(&now, &(kp_limits){ 0 }, sizeof now);
    assert_int_equal(shop.asked, 1);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(kp_pin(pool, kp_str("new"), &pinned), 0);
    assert_int_equal(shop.code, KP_ENOTFOUND); /* while it was being made */
    assert_int_equal(limits_of(pool, kp_str("new")).max_live, 3);
    assert_int_equal(limits_of(pool, pinned).max_waiting, 4 * 3 + 64);
    assert_int_equal(limits_of(pool, KP_EVERY_KEY).max_live, 10);
    assert_int_equal(shop.asked, 2);
    close_all(pool);
}

static void a_key_that_is_none_must_be_told(void **state)
{
    kp_pool *pool = open_with((kp_options){ 0 });
    kp_limits now = limits_unsaid;
    kp_stats stats;

    (void)state;
    assert_int_equal(kp_limits_read(pool, kp_bytes(NULL, 1), &now), KP_EMISUSE);
    assert_memory_equal(&now, &(kp_limits){ 0 }, sizeof now);
    assert_int_equal(kp_stats_read(pool, KP_EVERY_KEY, &stats), 0);
    assert_int_equal(stats.misuses, 1);
    close_all(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_said_must_read_as_its_default),
        cmocka_unit_test(what_was_said_must_read_so_and_be_set_as_it_was_read),
        cmocka_unit_test(what_was_said_at_open_must_read_so),
        cmocka_unit_test(a_limit_that_follows_must_follow_on_when_it_is_set_as_it_was_read),
        cmocka_unit_test(a_limit_that_was_said_must_not_begin_to_follow),
        cmocka_unit_test(a_burst_that_follows_must_follow_on_when_it_is_set_as_it_was_read),
        cmocka_unit_test(what_all_keys_keep_already_must_be_set_as_it_was_read),
        cmocka_unit_test(a_key_must_read_as_limits_for_left_it_and_others_not_at_all),
        cmocka_unit_test(a_key_that_is_none_must_be_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
