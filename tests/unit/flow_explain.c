/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/explain.c: what kp_explain says.
 */
#include "flow_stage.h"

#include <keyedpool/stats.h>
#include <string.h>

static char text[8192];

static const char *explain(struct stage *s, kp_key key)
{
    size_t length = kp_explain(s->pool, key, text, sizeof text);

    assert_int_equal(length, strlen(text));
    return text;
}

#define SAYS(what, part)                                                       \
    do {                                                                       \
        const char *said_ = (what);                                            \
        if (!strstr(said_, part)) fail_msg("no \"%s\" in: %s", part, said_);   \
    } while (0)
#define SAYS_NOT(what, part)                                                   \
    do {                                                                       \
        const char *said_ = (what);                                            \
        if (strstr(said_, part)) fail_msg("\"%s\" in: %s", part, said_);       \
    } while (0)

static void the_pool_must_be_explained_with_its_budgets(void **state)
{
    struct stage s;

    (void)state;
    stage_raise(&s);
    SAYS(explain(&s, KP_EVERY_KEY), "(no name)");
    SAYS(explain(&s, KP_EVERY_KEY), "no budget over all keys");
    stage_fall(&s);

    stage_set(&s);
    s.options.name = "orders";
    s.options.budget.max_lent = 7;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    SAYS(explain(&s, KP_EVERY_KEY), "pool orders: 1 keys");
    SAYS(explain(&s, KP_EVERY_KEY), "leases 1 of 7");
    SAYS_NOT(explain(&s, KP_EVERY_KEY), "no budget");
    kp_release(&lease);
    stage_fall(&s);

    stage_set(&s);
    s.options.budget.max_live = 7;
    stage_open(&s);
    SAYS_NOT(explain(&s, KP_EVERY_KEY), "no budget");
    SAYS_NOT(explain(&s, KP_EVERY_KEY), "leases 0 of");
    stage_fall(&s);
}

/* As seen by a thread that waits: the first borrowers, and all waiters. */
static void explain_meanwhile(struct stage *s)
{
    explain(s, kp_str("a"));
}

static int count_borrowers(void)
{
    int shown = 0;

    for (const char *at = text; (at = strstr(at, "lent for")) != NULL; at++) shown++;
    return shown;
}

static void borrowers_and_waiters_must_be_explained_with_their_tags(void **state)
{
    struct stage s;
    kp_lease leases[10], lease;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 10;
    stage_open(&s);
    for (int i = 0; i < 10; i++)
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.tag = i ? "report" : NULL),
                                &leases[i]), 0);
    s.now += 5000000;
    s.meanwhile = explain_meanwhile;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 20, .tag = "page"), &lease),
                     KP_ETIMEDOUT);
    SAYS(text, "lent for 5 ms to (no tag)");
    SAYS(text, "lent for 5 ms to report");
    SAYS(text, "waiting for 0 ms: page, limited by max_live");
    assert_int_equal(count_borrowers(), 8); /* the first few */
    s.meanwhile = explain_meanwhile;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 20), &lease), KP_ETIMEDOUT);
    SAYS(text, "waiting for 0 ms: (no tag)");
    for (int i = 0; i < 10; i++) kp_release(&leases[i]);
    SAYS_NOT(explain(&s, kp_str("a")), "lent for");
    stage_fall(&s);
}

static void borrowers_who_share_must_be_explained_up_to_as_many(void **state)
{
    struct stage s;
    kp_lease leases[10];

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    s.options.limits.sharing = 10;
    stage_open(&s);
    for (int i = 0; i < 10; i++) leases[i] = stage_get(&s, "a");
    assert_int_equal(s.made, 1);
    explain(&s, kp_str("a"));
    assert_int_equal(count_borrowers(), 8);
    for (int i = 0; i < 10; i++) kp_release(&leases[i]);
    stage_fall(&s);
}

static void leases_without_a_clock_must_be_explained_without_a_time(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.leak_after_ms = KP_OFF;
    s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    lease = stage_get(&s, "a");
    s.now += 5000000;
    kp_lease_about about;
    assert_true(kp_lease_read(&lease, &about));
    assert_int_equal(about.lent_ms, 0);
    SAYS(explain(&s, kp_str("a")), "lent for 0 ms");
    kp_release(&lease);
    stage_fall(&s);
}

static void only_the_first_keys_in_use_must_be_explained_with_the_pool(void **state)
{
    struct stage s;
    kp_lease leases[40];
    char key[8];

    (void)state;
    stage_raise(&s);
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%d", i);
        leases[i] = stage_get(&s, key);
        if (i == 20) kp_release(&leases[i]); /* not in use */
    }
    explain(&s, KP_EVERY_KEY);
    assert_int_equal(count_borrowers(), 32);
    SAYS_NOT(text, "k20");
    for (int i = 0; i < 40; i++)
        if (i != 20) kp_release(&leases[i]);
    stage_fall(&s);
}

/* Nothing is lent and no request waits, but a get would be refused now, or would be a probe. */
static void keys_that_are_not_well_must_be_explained_with_the_pool(void **state)
{
    struct stage s;
    kp_lease lease, other;

    (void)state;
    stage_set(&s);
    s.options.driver.validate = stage_validate;
    s.options.limits.breaker_failures = 1;
    s.options.limits.fail_fast = 1;
    stage_open(&s);
    lease = stage_get(&s, "well");
    kp_release(&lease);
    lease = stage_get(&s, "suspect");
    other = stage_get(&s, "suspect");
    kp_release(&other);
    kp_lease_report(&lease, KP_EGONE);
    kp_discard(&lease);
    s.create = KP_EREFUSED;
    assert_int_equal(kp_get(s.pool, kp_str("refused"), NULL, &lease), KP_EREFUSED);
    s.create = -5;
    assert_int_not_equal(kp_get(s.pool, kp_str("tripped"), NULL, &lease), 0);
    explain(&s, KP_EVERY_KEY);
    SAYS(text, "\nsuspect: ");
    SAYS(text, "1 in doubt");
    SAYS(text, "\nrefused: ");
    SAYS(text, "\ntripped: ");
    SAYS(text, "circuit open");
    SAYS_NOT(text, "\nwell: ");
    stage_fall(&s);
}

/* The same, but a get would wait for the end of a pause. */
static void keys_that_are_down_must_be_explained_with_the_pool(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_raise(&s);
    s.create = -5;
    assert_int_equal(kp_get(s.pool, kp_str("down"), NULL, &none), KP_ECREATE);
    explain(&s, KP_EVERY_KEY);
    SAYS(text, "\ndown: ");
    SAYS(text, "failed with -5");
    stage_fall(&s);
}

/* Before it was told to that request, and after; also by kp_warm. */
static void a_failure_that_is_kept_for_one_request_must_be_told_to_all_who_ask(void **state)
{
    const kp_key a = kp_str("a");
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.options.limits.cache_failure_ms = KP_ONCE;
    s.options.limits.retry_first_ms = s.options.limits.retry_max_ms = KP_HOURS(1);
    stage_open(&s);
    s.create = -5;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kp_warm(s.pool, &a, 1, KP_ASK(.why = &s.why)), 0);
        assert_int_equal(s.why.vendor_code, -5);
        SAYS(s.why.text, "a: driver.create failed with -5");
        SAYS(explain(&s, a), "failed with -5");
        if (i == 0) assert_int_equal(kp_get(s.pool, a, NULL, &none), KP_ECREATE);
        SAYS(explain(&s, a), "failed with -5");
        assert_int_equal(kp_retry_now(s.pool, a), 0);
        SAYS_NOT(explain(&s, a), "failed");
    }
    stage_fall(&s);
}

/* Where a circuit is open, it says when a create may begin, and the pause says nothing. */
static void a_pause_that_a_probe_does_not_wait_for_must_not_be_told(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.options.limits.breaker_failures = 1;
    s.options.limits.breaker_open_ms = 10;
    s.options.limits.retry_first_ms = s.options.limits.retry_max_ms = KP_HOURS(1);
    stage_open(&s);
    s.create = -5;
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &none), KP_ECREATE);
    s.now += 10000000;
    SAYS_NOT(explain(&s, kp_str("a")), "down for");
    SAYS(text, "its latest create failed: ");
    SAYS(text, "circuit open for 0 ms more");
    s.create = 0;
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    stage_fall(&s);
}

/* The driver refuses a second resource while it makes the first. */
static int refuse_the_second(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;
    kp_lease none;

    if (s->create == KP_EREFUSED) return KP_EREFUSED;
    s->create = KP_EREFUSED;
    assert_int_equal(kp_get(s->pool, job->key, NULL, &none), KP_EREFUSED);
    *resource = &s->resources[s->made++];
    return 0;
}

/* The latest create succeeded, but one that began with it was refused, and no other is tried. */
static void keys_that_are_refused_must_be_explained_though_a_create_succeeded(void **state)
{
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.driver.create = refuse_the_second;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease);
    explain(&s, KP_EVERY_KEY);
    SAYS(text, "\na: ");
    SAYS(text, "refused until kp_retry_now");
    stage_fall(&s);
}

/* All its creates succeeded, but its circuit, which counts uses, is open. */
static void keys_that_are_badly_used_must_be_explained_with_the_pool(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.limits.breaker_failures = 1;
    s.options.limits.breaker_counts = KP_BREAK_USE;
    stage_open(&s);
    lease = stage_get(&s, "well");
    kp_release(&lease);
    lease = stage_get(&s, "used");
    kp_lease_report(&lease, -5);
    kp_release(&lease);
    explain(&s, KP_EVERY_KEY);
    SAYS(text, "\nused: ");
    SAYS(text, "circuit open");
    SAYS(text, "; last use failed with -5");
    SAYS_NOT(text, "create failed");
    SAYS_NOT(text, "\nwell: ");
    stage_fall(&s);
}

static int revoke(kp_job *job, void *resource)
{
    return (void)job, (void)resource, 0;
}

/* It is no lease any more, but who has it should give it back. */
static void keys_with_revoked_leases_must_be_explained_with_the_pool(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.driver.revoke = revoke;
    s.options.limits.revoke_after_ms = 10;
    stage_open(&s);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.tag = "report"), &lease), 0);
    s.now += 20000000;
    (void)kp_keep(s.pool);
    explain(&s, KP_EVERY_KEY);
    SAYS(text, "\na: ");
    SAYS(text, "revoked, and lent for 20 ms to report");
    kp_release(&lease);
    SAYS_NOT(explain(&s, KP_EVERY_KEY), "\na: ");
    stage_fall(&s);
}

static void a_pool_that_is_closed_must_say_so_while_it_has_something(void **state)
{
    struct stage s;

    (void)state;
    stage_raise(&s);
    kp_lease lease = stage_get(&s, "a");
    SAYS_NOT(explain(&s, KP_EVERY_KEY), "closed");
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE), 1);
    SAYS(explain(&s, KP_EVERY_KEY), "the pool is closing or closed\npool ");
    SAYS(explain(&s, kp_str("a")), "the pool is closing or closed\na: live 1 of 10");
    SAYS(explain(&s, kp_str("b")), "the pool is closing or closed\nthis pool has no such key");
    kp_release(&lease);
    assert_string_equal(explain(&s, KP_EVERY_KEY), "the pool is closing or closed\n");
}

static void what_is_not_there_must_be_explained_as_that(void **state)
{
    struct stage s;
    int key = 3;

    (void)state;
    stage_raise(&s);
    SAYS(explain(&s, KP_KEY(&key)), "has no such key");
    SAYS(explain(&s, kp_str("unknown")), "has no such key");
    assert_true(kp_explain(NULL, kp_str("a"), text, sizeof text) > 0);
    assert_true(kp_explain(s.pool, KP_EVERY_KEY, NULL, 0) > 0);
    stage_fall(&s);
}

static void a_text_that_does_not_fit_must_be_cut_and_measured(void **state)
{
    struct stage s;
    char little[8];

    (void)state;
    stage_raise(&s);
    size_t length = kp_explain(s.pool, KP_EVERY_KEY, text, sizeof text);
    assert_int_equal(kp_explain(s.pool, KP_EVERY_KEY, little, sizeof little), length);
    assert_int_equal(strlen(little), sizeof little - 1);
    assert_memory_equal(little, text, sizeof little - 1);
    assert_int_equal(kp_key_text(NULL, kp_str("a"), little, sizeof little), 1);
    assert_string_equal(little, "a");
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_must_be_explained_with_its_budgets),
        cmocka_unit_test(borrowers_and_waiters_must_be_explained_with_their_tags),
        cmocka_unit_test(borrowers_who_share_must_be_explained_up_to_as_many),
        cmocka_unit_test(leases_without_a_clock_must_be_explained_without_a_time),
        cmocka_unit_test(only_the_first_keys_in_use_must_be_explained_with_the_pool),
        cmocka_unit_test(keys_that_are_not_well_must_be_explained_with_the_pool),
        cmocka_unit_test(keys_that_are_down_must_be_explained_with_the_pool),
        cmocka_unit_test(a_failure_that_is_kept_for_one_request_must_be_told_to_all_who_ask),
        cmocka_unit_test(a_pause_that_a_probe_does_not_wait_for_must_not_be_told),
        cmocka_unit_test(keys_that_are_refused_must_be_explained_though_a_create_succeeded),
        cmocka_unit_test(keys_that_are_badly_used_must_be_explained_with_the_pool),
        cmocka_unit_test(keys_with_revoked_leases_must_be_explained_with_the_pool),
        cmocka_unit_test(a_pool_that_is_closed_must_say_so_while_it_has_something),
        cmocka_unit_test(what_is_not_there_must_be_explained_as_that),
        cmocka_unit_test(a_text_that_does_not_fit_must_be_cut_and_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
