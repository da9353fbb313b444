/* SPDX-License-Identifier: MIT
 *
 * What a number in the options can be (R2), and options that are impossible or contradict each
 * other: each is refused when the pool is opened, with the name of the option in why->field; the
 * same where limits come in later (limits_for, kp_limits_set), and then nothing has changed.
 * Row 7 of the ten misuses: 0, -1 or a forgotten field taken for "unlimited".
 */
#include "stage.h"

#include <stdlib.h>

static int create_nothing(kp_job *job, void **out)
{
    static int thing;

    (void)job;
    *out = &thing;
    return 0;
}

static int destroy_nothing(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

static uint64_t hash_nothing(const void *key, uint64_t seed, void *ctx)
{
    return (void)key, (void)ctx, seed;
}

static kp_options plain(void)
{
    return (kp_options){ .driver = { .create = create_nothing, .destroy = destroy_nothing } };
}

/* Opening with these must be refused, and the sentence's field must contain this name. */
static void refused(struct fixture *f, kp_options options, const char *field)
{
    kp_pool *pool = (kp_pool *)f;
    kp_why   why;

    memset(&why, 0x55, sizeof why);
    options.world = kp_sim_world(f->sim);
    options.why = &why;
    if (kp_pool_open(&options, &pool) != KP_ECONFIG)
        fail_msg("%s: not refused", field);
    assert_null(pool);
    assert_int_equal(why.code, KP_ECONFIG);
    if (!strstr(why.field, field))
        fail_msg("why.field is \"%s\", not \"%s\"", why.field, field);
    assert_true(why.text[0] != 0);
}

#define REFUSED_LIMITS(name, ...)                  \
    do {                                           \
        kp_options options_ = plain();             \
        options_.limits = (kp_limits){ __VA_ARGS__ }; \
        refused(f, options_, name);                \
    } while (0)

#define REFUSED_BUDGET(name, ...)                  \
    do {                                           \
        kp_options options_ = plain();             \
        options_.budget = (kp_budget){ __VA_ARGS__ }; \
        refused(f, options_, name);                \
    } while (0)

/* ---- contradictions ---- */

static void a_minimum_above_its_maximum_must_be_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED_LIMITS("min_live", .min_live = 5, .max_live = 4);
    REFUSED_LIMITS("min_live", .min_live = 11);
    REFUSED_LIMITS("min_idle", .min_idle = 3, .max_idle = 2);
    REFUSED_LIMITS("floor", .floor = 5, .max_live = 4);
}

static void to_fail_fast_and_to_wait_must_be_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED_LIMITS("fail_fast", .fail_fast = 1, .on_create_failure = KP_FAIL_RETRY);
    REFUSED_LIMITS("fail_fast", .fail_fast = 1, .retry_first_ms = KP_NONE);
    REFUSED_LIMITS("fail_fast", .fail_fast = 2);
    REFUSED_LIMITS("fail_fast", .fail_fast = KP_UNLIMITED);
    open_pool(f, (kp_options){ .limits = { .fail_fast = KP_OFF, .retry_first_ms = KP_NONE } });
    assert_int_equal(kp_pool_close(f->pool, KP_CLOSE_NOW, 0), 0);
    open_pool(f, (kp_options){ .limits = { .fail_fast = KP_NONE, .retry_first_ms = KP_NONE } });
}

static void a_burst_without_a_rate_and_a_rate_of_nothing_must_be_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED_BUDGET("budget.create_rate", .create_rate = KP_NONE);
    REFUSED_BUDGET("budget.create_rate", .create_rate = KP_OFF);
    REFUSED_BUDGET("budget.create_rate", .create_rate = INT64_MAX);
    REFUSED_BUDGET("budget.create_burst", .create_burst = 5);
    REFUSED_BUDGET("budget.create_burst", .create_burst = 5, .create_rate = KP_UNLIMITED);
    REFUSED_BUDGET("budget.create_burst", .create_burst = KP_UNLIMITED, .create_rate = 5);
    REFUSED_BUDGET("budget.create_burst", .create_burst = KP_NONE, .create_rate = 5);
    REFUSED_BUDGET("budget.create_burst", .create_burst = -1, .create_rate = 5);
    REFUSED_BUDGET("budget.create_rate", .create_rate = 1000000001);
    open_pool(f, (kp_options){ .budget = { .create_rate = 1000000000, .create_burst = 1 } });
}

static void leave_all(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)limits, (void)ctx;
}

/* Whoever says these counts on what is not there; limits_for may add it, and off is meant. */
static void what_does_nothing_alone_must_be_refused(void **state)
{
    static const struct {
        kp_limits limits;
        const char *field;
    } cases[] = {
        { { .breaker_open_ms = 100 }, "limits.breaker_open_ms" },
        { { .breaker_probes = 2 }, "limits.breaker_probes" },
        { { .breaker_counts = KP_BREAK_USE }, "limits.breaker_counts" },
        { { .breaker_window_ms = 100, .breaker_failures = 5 }, "limits.breaker_window_ms" },
        { { .breaker_calls = 5, .breaker_failures = 5 }, "limits.breaker_calls" },
        { { .validate_on = KP_CHECK_GET | KP_CHECK_KEEPER }, "limits.validate_on" },
        { { .validate_on = KP_CHECK_RETURN }, "limits.validate_on" },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_options options = plain();
        kp_pool   *pool;

        options.limits = cases[i].limits;
        refused(f, options, cases[i].field);
        if (options.limits.validate_on) options.driver.validate = destroy_nothing;
        else if (i % 2) options.limits.breaker_failures = options.limits.breaker_rate_pct = KP_OFF;
        else options.limits_for = leave_all;
        assert_int_equal(kp_pool_open(&options, &pool), 0);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, KP_NONE), 0);
    }
}

static void lifo_with_shedding_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();
    kp_why          why;
    kp_pool        *pool = NULL;

    options.limits = (kp_limits){ .wait_order = KP_LIFO, .shed_target_ms = 5 };
    options.world = kp_sim_world(f->sim);
    options.why = &why;
    assert_int_equal(kp_pool_open(&options, &pool), KP_ECONFIG);
    assert_null(pool);
    if (!strstr(why.field, "wait_order") && !strstr(why.field, "shed"))
        fail_msg("why.field is \"%s\"", why.field);
}

static void key_fields_and_key_functions_together_must_be_refused(void **state)
{
    static const kp_field fields[] = { { "i", KP_FIELD_BYTES, 0, sizeof(int) }, KP_END };
    struct fixture       *f = *state;
    kp_options            options = plain();

    options.key_type = (kp_key_type){ .size = sizeof(int), .fields = fields, .hash = hash_nothing };
    refused(f, options, "key_type");
    options.key_type = (kp_key_type){ .fields = fields };
    refused(f, options, "key_type");
    options.key_type = (kp_key_type){ .size = sizeof(int), .hash = hash_nothing };
    refused(f, options, "key_type");
    options.key_type = (kp_key_type){ .size = 2, .fields = fields };
    refused(f, options, "key_type");
}

static void a_driver_that_creates_must_destroy(void **state)
{
    struct fixture *f = *state;
    kp_options      options = { .driver = { .create = create_nothing } };

    refused(f, options, "destroy");
}

static void count_drop(void *ctx)
{
    ++*(int *)ctx;
}

static void a_refused_open_must_leave_ctx_to_its_caller(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();
    int             dropped = 0;

    options.driver.ctx = &dropped;
    options.driver.drop_ctx = count_drop;
    options.limits.max_live = -1;
    refused(f, options, "max_live");
    assert_int_equal(dropped, 0);
}

/* ---- numbers ---- */

static void any_other_negative_number_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();

    REFUSED_LIMITS("max_live", .max_live = -1);
    REFUSED_LIMITS("min_live", .min_live = -1);
    REFUSED_LIMITS("max_lent", .max_lent = INT64_MIN);
    REFUSED_LIMITS("max_idle", .max_idle = -2147483605);
    REFUSED_LIMITS("max_waiting", .max_waiting = -1);
    REFUSED_LIMITS("idle_ttl_ms", .idle_ttl_ms = -1);
    REFUSED_LIMITS("max_age_ms", .max_age_ms = -1);
    REFUSED_LIMITS("retry_first_ms", .retry_first_ms = -1);
    REFUSED_LIMITS("weight", .weight = -1);
    REFUSED_BUDGET("budget.max_live", .max_live = -1);
    REFUSED_BUDGET("budget.max_keys", .max_keys = -1);
    options.deadline_ms = -1;
    refused(f, options, "deadline_ms");
    options = plain();
    options.threads = -1;
    refused(f, options, "threads");
}

static void off_for_a_count_and_unlimited_for_a_time_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();

    REFUSED_LIMITS("max_live", .max_live = KP_OFF);
    REFUSED_LIMITS("max_idle", .max_idle = KP_OFF);
    REFUSED_LIMITS("idle_ttl_ms", .idle_ttl_ms = KP_UNLIMITED);
    REFUSED_LIMITS("max_age_ms", .max_age_ms = KP_UNLIMITED);
    REFUSED_LIMITS("breaker_open_ms", .breaker_open_ms = KP_UNLIMITED);
    REFUSED_BUDGET("budget.max_lent", .max_lent = KP_OFF);
    options.leak_after_ms = KP_UNLIMITED;
    refused(f, options, "leak_after_ms");
}

static void once_must_be_refused_but_for_cache_failure_ms(void **state)
{
    struct fixture *f = *state;

    REFUSED_LIMITS("idle_ttl_ms", .idle_ttl_ms = KP_ONCE);
    REFUSED_LIMITS("max_live", .max_live = KP_ONCE);
    open_pool(f, (kp_options){ .limits = { .cache_failure_ms = KP_ONCE } });
}

static void no_borrower_at_all_must_be_refused(void **state)
{
    struct fixture *f = *state;

    REFUSED_LIMITS("sharing", .sharing = KP_NONE);
    REFUSED_LIMITS("max_uses", .max_uses = KP_NONE);
    REFUSED_LIMITS("renew_ahead_ms", .max_age_ms = 1000, .renew_ahead_ms = 800);
}

static void unknown_enumerators_must_be_refused(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();

    REFUSED_LIMITS("wait_order", .wait_order = 99);
    REFUSED_LIMITS("idle_order", .idle_order = -1);
    REFUSED_LIMITS("prefill", .prefill = 99);
    REFUSED_LIMITS("refill", .refill = 99);
    REFUSED_LIMITS("on_create_failure", .on_create_failure = 99);
    REFUSED_LIMITS("on_return", .on_return = 99);
    REFUSED_LIMITS("validate_on", .validate_on = 64);
    REFUSED_LIMITS("on_gone", .on_gone = 3);
    REFUSED_LIMITS("on_gone", .on_gone = -1);
    REFUSED_LIMITS("on_gone", .on_gone = KP_UNLIMITED);
    REFUSED_LIMITS("on_gone", .on_gone = KP_NONE);
    options.on_fork = 99;
    refused(f, options, "on_fork");
    options.on_fork = 0;
    options.hits = 99;
    refused(f, options, "hits");
    options.hits = 0;
    options.on_deadlock = 3;
    refused(f, options, "on_deadlock");
    options.on_deadlock = KP_DEADLOCK_REPORT; /* and contradictory: */
    options.hits = KP_HITS_QUICK;
    refused(f, options, "on_deadlock");
    options.hits = KP_HITS_PORTABLE;
    refused(f, options, "on_deadlock");
}

static void reserved_words_must_be_zero(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();

    REFUSED_LIMITS("reserved", .reserved = { 0, 1 });
    REFUSED_BUDGET("reserved", .reserved = { 0, 0, 1 });
    options.driver.reserved[2] = (void (*)(void))(uintptr_t)1;
    refused(f, options, "reserved");
}

static void zero_must_mean_the_default_and_never_unlimited(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease[11];
    kp_why          why;
    kp_ask          ask = { .within_ms = 10, .why = &why };

    open_pool(f, (kp_options){ .limits = { .max_live = 0, .max_creating = KP_UNLIMITED } });
    for (int i = 0; i < 10; i++)
        take(f, "k", &lease[i]);
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &lease[10]), KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_live");
    assert_int_equal(why.max_live, 10);
    for (int i = 0; i < 10; i++)
        kp_release(&lease[i]);
}

static void unlimited_must_be_said_and_reported_as_such(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease[12], none;
    kp_why          why;
    kp_ask          ask = { .within_ms = 10, .why = &why };

    open_pool(f, (kp_options){ .limits = { .max_live = KP_UNLIMITED, .max_lent = 12 } });
    for (int i = 0; i < 12; i++)
        take(f, "k", &lease[i]);
    assert_int_equal(kp_get(f->pool, kp_str("k"), &ask, &none), KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_lent");
    assert_true(why.max_live == KP_UNLIMITED);
    for (int i = 0; i < 12; i++)
        kp_release(&lease[i]);
}

static void none_must_mean_zero_and_not_the_default(void **state)
{
    struct fixture *f = *state;
    kp_lease        lease;

    open_pool(f, (kp_options){ .limits = { .max_idle = KP_NONE } });
    take(f, "k", &lease);
    kp_release(&lease);
    assert_int_equal(stats(f).live, 0);
    assert_int_equal(stats(f).destroys, 1);
}

/* ---- a header and a library that do not fit ---- */

/* Where its `why` lies in such a struct is not known: the process is told. */
static void options_of_another_header_must_be_told(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();
    kp_pool        *pool = NULL;

    options.world = kp_sim_world(f->sim);
    assert_int_equal(kp_pool_open_sized(&options, 8, 2034005, &pool), KP_ECONFIG);
    assert_null(pool);
    assert_int_equal(f->heard.orphans, 1);
    assert_non_null(strstr(f->heard.orphan_text, "header of 2.34.5 (8 bytes of options)"));
    assert_int_equal(kp_pool_open_sized(&options, sizeof options, 0, &pool), KP_ECONFIG);
    assert_non_null(strstr(f->heard.orphan_text, "header of 0.0.0 ("));
    assert_true(kp_pool_open_sized(NULL, sizeof options, KP_VERSION, &pool) < 0);
    assert_null(pool);
}

/* Where its `why` lies in a struct of another size is not known. */
static void a_struct_that_is_too_short_must_not_be_asked_where_to_say_why(void **state)
{
    struct fixture *f = *state;
    kp_options      options = plain();
    kp_why          why = { 0 };

    options.why = &why;
    assert_int_equal(kp_pool_open_sized(&options, sizeof options - 1, KP_VERSION, NULL),
                     KP_EMISUSE);
    assert_int_equal(f->heard.orphans, 1);
    assert_int_equal(why.code, 0);
    assert_int_equal(kp_pool_open_sized(&options, sizeof options, KP_VERSION, NULL), KP_EMISUSE);
    assert_int_equal(f->heard.orphans, 2);
    assert_int_equal(why.code, KP_EMISUSE);
}

static void a_larger_struct_must_be_taken_only_if_what_is_new_is_zero(void **state)
{
    struct fixture *f = *state;
    struct { kp_options known; uint64_t unknown; } newer = { .known = plain() };
    kp_pool *pool = NULL;

    newer.known.world = kp_sim_world(f->sim);
    assert_int_equal(kp_pool_open_sized(&newer.known, sizeof newer, KP_VERSION, &pool), 0);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(1)), 0);
    newer.unknown = 1;
    assert_int_equal(kp_pool_open_sized(&newer.known, sizeof newer, KP_VERSION, &pool), KP_ECONFIG);
    assert_null(pool);
}

/* ---- limits that come in later ---- */

static void contradict(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 3)
        limits->min_live = limits->max_live + 1;
}

static void a_contradiction_from_limits_for_must_refuse_the_get(void **state)
{
    struct fixture *f = *state;
    kp_why          why = { 0 };
    kp_lease        lease;

    open_pool(f, (kp_options){ .limits_for = contradict });
    assert_int_equal(kp_get(f->pool, kp_str("bad"), KP_ASK(.why = &why), &lease), KP_ECONFIG);
    assert_null(lease.resource);
    if (!strstr(why.field, "min_live"))
        fail_msg("why.field is \"%s\"", why.field);
    assert_int_equal(stats(f).keys, 0);
    take(f, "fine", &lease);
    kp_release(&lease);
}

static void resolve(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)ctx;
    if (limits->max_live != 10 || limits->weight != 1 || limits->max_lent != KP_UNLIMITED)
        abort();                        /* numbers one is handed are never "default" */
    limits->max_live = 0;               /* a quota of none: literal */
}

static void what_limits_for_writes_must_be_taken_literally(void **state)
{
    struct fixture *f = *state;
    kp_why          why;
    kp_lease        lease;

    open_pool(f, (kp_options){ .limits_for = resolve });
    assert_int_equal(kp_get(f->pool, kp_str("k"), KP_ASK(.within_ms = 10, .why = &why), &lease),
                     KP_ETIMEDOUT);
    assert_string_equal(why.limit, "max_live");
    assert_int_equal(why.max_live, 0);
}

static void a_refused_kp_limits_set_must_have_changed_nothing(void **state)
{
    struct fixture *f = *state;
    kp_limits       bad = { .max_live = 2, .min_live = 3 }, half = { .min_live = 6 };
    kp_limits       typo = { .max_live = 2, .max_idle = -1 };
    kp_lease        lease[5];
    kp_why          why;

    open_pool(f, (kp_options){ .limits = { .max_live = 5, .max_creating = KP_UNLIMITED } });
    for (int i = 0; i < 4; i++)
        take(f, "k", &lease[i]);
    assert_int_equal(kp_limits_set(f->pool, kp_str("k"), &bad, &why), KP_ECONFIG);
    assert_non_null(strstr(why.field, "min_live"));
    assert_int_equal(kp_limits_set(f->pool, KP_EVERY_KEY, &typo, &why), KP_ECONFIG);
    assert_non_null(strstr(why.field, "max_idle"));
    assert_int_equal(kp_limits_set(f->pool, kp_str("k"), &half, &why), KP_ECONFIG);
    assert_int_equal(kp_limits_set(f->pool, kp_str("other"), &(kp_limits){ .max_live = 1 }, &why),
                     KP_ENOTFOUND);
    take(f, "k", &lease[4]);
    for (int i = 0; i < 5; i++)
        kp_release(&lease[i]);
    assert_int_equal(stats(f).idle, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_minimum_above_its_maximum_must_be_refused),
        T(what_does_nothing_alone_must_be_refused),
        T(lifo_with_shedding_must_be_refused),
        T(to_fail_fast_and_to_wait_must_be_refused),
        T(a_burst_without_a_rate_and_a_rate_of_nothing_must_be_refused),
        T(key_fields_and_key_functions_together_must_be_refused),
        T(a_driver_that_creates_must_destroy),
        T(a_refused_open_must_leave_ctx_to_its_caller),
        T(any_other_negative_number_must_be_refused),
        T(off_for_a_count_and_unlimited_for_a_time_must_be_refused),
        T(once_must_be_refused_but_for_cache_failure_ms),
        T(no_borrower_at_all_must_be_refused),
        T(unknown_enumerators_must_be_refused),
        T(reserved_words_must_be_zero),
        T(zero_must_mean_the_default_and_never_unlimited),
        T(unlimited_must_be_said_and_reported_as_such),
        T(none_must_mean_zero_and_not_the_default),
        T(options_of_another_header_must_be_told),
        T(a_struct_that_is_too_short_must_not_be_asked_where_to_say_why),
        T(a_larger_struct_must_be_taken_only_if_what_is_new_is_zero),
        T(a_contradiction_from_limits_for_must_refuse_the_get),
        T(what_limits_for_writes_must_be_taken_literally),
        T(a_refused_kp_limits_set_must_have_changed_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
