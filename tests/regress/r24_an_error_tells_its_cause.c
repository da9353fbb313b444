/* SPDX-License-Identifier: MIT
 *
 * Request 24, r2d2#75, bb8's `TimedOut`, db_connection#325: "timed out waiting for connection", and
 * neither why nor of which pool. Here kp_why has the limit that bound, how long it was, what the
 * key had at that moment, and the driver's own last reason, its number and its words; and the event
 * names pool and key.
 */
#include "contract/house.h"

static const kp_line refuses[] = { { .takes_ms = 50, .status = -1, .vendor_code = 28000,
                                     .text = "no pg_hba.conf entry", .times = KP_OFF },
                                   { 0 } };
static const kp_script refusing = { .create = refuses };

static void a_time_out_behind_failing_creates_must_have_the_drivers_reason(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &refusing);

    (void)state;
    o.limits.on_create_failure = KP_FAIL_RETRY;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT);
    HOUSE_IS(&h, h.why.code, KP_ETIMEDOUT);
    HOUSE_IS(&h, h.why.vendor_code, 28000);
    assert_non_null(strstr(h.why.text, "no pg_hba.conf entry"));
    HOUSE_IS(&h, h.why.waited_ms, 1000);
    house_pass(&h, 1000);
    house_close(&h);
}

static void a_failed_create_must_be_told_as_it_was(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &refusing);

    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ECREATE);
    HOUSE_IS(&h, h.why.vendor_code, 28000);
    assert_string_equal(h.why.text, "no pg_hba.conf entry");
    HOUSE_IS(&h, h.seen[KP_EVENT_CREATE_FAILED], 1);
    house_close(&h);
}

static kp_pool *told_of;
static char told_key[16], told_tag[16];

static void remember(struct house *h, const kp_event *event)
{
    (void)h;
    if (event->kind != KP_EVENT_TIMEOUT) return;
    told_of = event->pool;
    snprintf(told_key, sizeof told_key, "%.*s", (int)event->key.size,
             (const char *)event->key.data);
    snprintf(told_tag, sizeof told_tag, "%s", event->tag ? event->tag : "(none)");
}

static void a_time_out_in_the_queue_must_name_the_limit_and_the_numbers(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 2;
    house_open(&h, &o);
    h.also = remember;
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "orders");
    visitor_send(&h, &v, "orders", 1500);
    HOUSE_IS(&h, house_fails(&h, "orders", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "wait_order"); /* another was ahead ... */
    HOUSE_IS(&h, h.why.ahead, 1);
    assert_non_null(strstr(h.why.text, "1 ahead, the first by max_live; oldest lease"));
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, KP_ETIMEDOUT);
    assert_string_equal(v.why.limit, "max_live"); /* ... and that is what he waited for */
    HOUSE_IS(&h, v.why.ahead, 0);
    HOUSE_IS(&h, v.why.max_live, 2);
    HOUSE_IS(&h, v.why.lent, 2);
    HOUSE_IS(&h, v.why.waited_ms, 1500);
    assert_ptr_equal(told_of, h.pool);
    assert_string_equal(told_key, "orders");
    assert_string_equal(told_tag, "visitor");
    for (int i = 0; i < 2; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

static void a_time_out_by_the_budget_must_say_what_all_keys_have(void **state)
{
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 2;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "orders");
    HOUSE_IS(&h, house_fails(&h, "bills", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_live");
    HOUSE_IS(&h, h.why.live, 0); /* of this key */
    assert_non_null(strstr(h.why.text, "0 ahead; over all keys live 2 of 2"));
    visitor_send(&h, &v, "bills", 1500);
    HOUSE_IS(&h, house_fails(&h, "bills", 1000), KP_ETIMEDOUT);
    assert_non_null(strstr(h.why.text, "the first by budget.max_live; over all keys live 2 of 2"));
    visitor_end(&v);
    for (int i = 0; i < 2; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

/* Of this key nothing is out, so its own numbers say nothing. */
static void a_time_out_by_what_all_keys_lend_or_create_must_say_how_much_that_is(void **state)
{
    static const kp_line slow[] = { { .takes_ms = 5000, .times = KP_OFF }, { 0 } };
    static const kp_script script = { .create = slow };
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_lent = 1;
    house_open(&h, &o);
    lease = house_get(&h, "orders");
    HOUSE_IS(&h, house_fails(&h, "bills", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_lent");
    assert_non_null(strstr(h.why.text, "0 ahead; over all keys lent 1 of 1"));
    house_release(&h, &lease);
    house_close(&h);

    o = house_plan(&h, 1, NULL, &script);
    o.budget.max_creating = 1;
    house_open(&h, &o);
    visitor_send(&h, &v, "orders", 1500);
    HOUSE_IS(&h, house_fails(&h, "bills", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.max_creating");
    assert_non_null(strstr(h.why.text, "0 ahead; over all keys creating 1 of 1"));
    visitor_end(&v);
    house_pass(&h, 9000);
    house_close(&h);
}

/* Of the two groups of the key one is full. */
static void a_time_out_by_a_group_must_say_which_and_what_it_has(void **state)
{
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.group[0] = 7;
    o.limits.group[1] = 8;
    o.budget.group_max_live[0] = 3;
    o.budget.group_max_live[1] = 2;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "orders");
    HOUSE_IS(&h, house_fails(&h, "bills", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.group_max_live");
    HOUSE_IS(&h, h.why.live, 0);
    assert_non_null(strstr(h.why.text, "0 ahead; in group[1] = 8 live 2 of 2"));
    for (int i = 0; i < 2; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_out_behind_failing_creates_must_have_the_drivers_reason),
        cmocka_unit_test(a_failed_create_must_be_told_as_it_was),
        cmocka_unit_test(a_time_out_in_the_queue_must_name_the_limit_and_the_numbers),
        cmocka_unit_test(a_time_out_by_the_budget_must_say_what_all_keys_have),
        cmocka_unit_test(a_time_out_by_what_all_keys_lend_or_create_must_say_how_much_that_is),
        cmocka_unit_test(a_time_out_by_a_group_must_say_which_and_what_it_has),
    };
    return cmocka_run_group_tests_name("request 24", tests, NULL, NULL);
}
