/* SPDX-License-Identifier: MIT
 *
 * What a pool says of itself, in the text of a kp_why and in kp_explain, is so: it names no cause
 * that was not the cause, and leaves none out.
 */
#include "house.h"

static bool says(struct house *h, const char *text)
{
    return strstr(h->why.text, text) != NULL;
}

/* ---- what is lent ---------------------------------------------------------------------------- */

/* The only one is lent; `mark` is done to it; then a get runs out of time. Is it told that one was
 * invalidated? */
static bool tells_after(void (*mark)(struct house *h, kp_lease *lease))
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    o.limits.max_live = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "a");
    mark(&h, &lease);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    house_release(&h, &lease);
    house_close(&h);
    return says(&h, "one of those lent was invalidated: kp_discard frees its place at once");
}

static void invalidate(struct house *h, kp_lease *lease)
{
    HOUSE_IS(h, kp_invalidate(h->pool, lease->resource), 1);
}

static void rotate(struct house *h, kp_lease *lease)
{
    (void)lease;
    HOUSE_IS(h, kp_rotate(h->pool, kp_str("a"), KP_NONE), 1);
}

static void say_it_is_gone(struct house *h, kp_lease *lease)
{
    (void)h;
    kp_lease_report(lease, KP_EGONE);
}

static void only_what_was_invalidated_must_be_called_so(void **state)
{
    (void)state;
    assert_true(tells_after(invalidate));
    assert_false(tells_after(rotate));
    assert_false(tells_after(say_it_is_gone));
}

/* ---- why creates fail ------------------------------------------------------------------------ */

/* One is lent, to somebody with a long name; the next create fails, and a get waits in the pause
 * after it. There is room for the reason, whatever else there is to say. */
static void a_timeout_must_tell_the_last_failure_first(void **state)
{
    static const kp_line fails_next[] = {
        { .times = 1 },
        { .status = -1, .text = "FATAL: password authentication failed for user \"app\"",
          .times = KP_OFF },
    };
    kp_script script = { .create = fails_next };
    struct house h;
    kp_lease lease;

    (void)state;
    kp_options o = house_plan(&h, 1, NULL, &script);
    o.limits.max_live = 2;
    o.limits.retry_first_ms = KP_MINUTES(10);
    o.limits.retry_max_ms = KP_MINUTES(10);
    house_open(&h, &o);
    HOUSE_IS(&h, kp_get(h.pool, kp_str("a"), KP_ASK(.tag = "the report of the monthly turnover"),
                        &lease), 0);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ECREATE);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ETIMEDOUT);
    HOUSE_HAS(&h, says(&h, "; last create failed: FATAL: password authentication failed for user"));
    assert_string_equal(h.why.oldest_tag, "the report of the monthly turnover");
    kp_release(&lease);
    house_close(&h);
}

/* ---- why a circuit is open ------------------------------------------------------------------- */

static void open_a_circuit(struct house *h, const kp_line *creates, int32_t counts)
{
    kp_script script = { .create = creates };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.limits.retry_first_ms = KP_NONE;
    o.limits.breaker_failures = 2;
    o.limits.breaker_counts = counts;
    house_open(h, &o);
}

static void creates_that_opened_it_must_be_told(void **state)
{
    static const kp_line fails[] = { { .status = -1, .vendor_code = 111, .text = "no route",
                                       .times = KP_OFF }, { 0 } };
    static const int32_t counts[] = { KP_BREAK_CREATE, KP_BREAK_CREATE | KP_BREAK_USE };
    struct house h;

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_a_circuit(&h, fails, counts[i]);
        for (int n = 0; n < 2; n++) HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ECREATE);
        HOUSE_IS(&h, house_fails(&h, "a", 10), KP_EBREAKER);
        HOUSE_HAS(&h, says(&h, "; last create failed: no route"));
        HOUSE_IS(&h, h.why.vendor_code, 111);
        house_close(&h);
    }
}

/* A create had failed long before, and others went well since. */
static void a_create_must_not_be_blamed_for_what_uses_did(void **state)
{
    static const kp_line fails_once[] = { { .status = -1, .text = "no route" }, { 0 } };
    const kp_key a = kp_str("a");
    struct house h;

    (void)state;
    open_a_circuit(&h, fails_once, KP_BREAK_USE);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ECREATE);
    for (int i = 0; i < 2; i++) {
        kp_lease lease = house_get(&h, "a");
        kp_lease_report(&lease, -5);
        house_discard(&h, &lease);
    }
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_EBREAKER);
    HOUSE_HAS(&h, !says(&h, "last create failed"));
    HOUSE_IS(&h, kp_warm(h.pool, &a, 1, KP_ASK(.why = &h.why)), 0);
    HOUSE_IS(&h, h.why.code, KP_EBREAKER);
    HOUSE_HAS(&h, !says(&h, "last create failed"));
    HOUSE_IS(&h, h.why.vendor_code, -5);
    house_close(&h);
}

/* One that was begun before it opened came out well, and is lent. */
static void creates_that_opened_it_must_be_told_when_another_one_went_well(void **state)
{
    static const kp_line fails_first[] = {
        { .takes_ms = 20, .times = 1 },
        { .status = -1, .vendor_code = 111, .text = "no route", .times = KP_OFF }, { 0 } };
    struct visitor v = { .stay_ms = 0 };
    struct house h;

    (void)state;
    open_a_circuit(&h, fails_first, KP_BREAK_CREATE);
    visitor_send(&h, &v, "a", KP_SECONDS(1));
    for (int n = 0; n < 2; n++) HOUSE_IS(&h, house_fails(&h, "a", 10), KP_ECREATE);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, house_fails(&h, "a", 10), KP_EBREAKER);
    HOUSE_HAS(&h, says(&h, "; last create failed: no route"));
    HOUSE_IS(&h, h.why.vendor_code, 111);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* ---- what is surplus ------------------------------------------------------------------------- */

static bool explains(struct house *h, const char *text)
{
    char buf[600];

    (void)kp_explain(h->pool, kp_str("a"), buf, sizeof buf);
    return strstr(buf, text) != NULL;
}

/* Twenty times two are lent at once and given back; `evicts`: then what is idle is evicted. */
static void churn(struct house *h, int64_t all_idle, bool evicts)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = o.limits.max_idle = 2;
    o.budget.max_idle = all_idle;
    house_open(h, &o);
    for (int i = 0; i < 20; i++) {
        house_stock(h, "a", 2);
        if (evicts) HOUSE_IS(h, kp_evict(h->pool, kp_str("a"), KP_NONE), 2);
    }
    HOUSE_HAS(h, house_stats(h, "a").surplus >= 20);
}

static void a_key_must_be_said_to_churn_only_by_a_limit_that_there_is(void **state)
{
    struct house h;

    (void)state;
    churn(&h, 1, false);
    HOUSE_HAS(&h, explains(&h, "churns: 20 of 21 made were destroyed as surplus (budget.max_idle"));
    /* until more than eight gets were served for each */
    while (house_stats(&h, "a").gets < 8 * 20 + 7) house_stock(&h, "a", 1);
    HOUSE_HAS(&h, explains(&h, "churns"));
    house_stock(&h, "a", 1);
    HOUSE_HAS(&h, !explains(&h, "churns"));
    house_close(&h);
    churn(&h, 0, true);
    HOUSE_HAS(&h, !explains(&h, "churns"));
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_invalidated_must_be_called_so),
        cmocka_unit_test(a_timeout_must_tell_the_last_failure_first),
        cmocka_unit_test(creates_that_opened_it_must_be_told),
        cmocka_unit_test(a_create_must_not_be_blamed_for_what_uses_did),
        cmocka_unit_test(creates_that_opened_it_must_be_told_when_another_one_went_well),
        cmocka_unit_test(a_key_must_be_said_to_churn_only_by_a_limit_that_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
