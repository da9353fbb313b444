/* SPDX-License-Identifier: MIT
 *
 * Request 25, HikariCP#808, PRs #1272, #1656 (closed unmerged): the pool is exhausted; who holds
 * them all, and where? Here every lease knows the tag of its get, since when it is lent, and the
 * place of the call: a time-out names the oldest, kp_explain lists them, and one that is out for
 * longer than `leak_after_ms` is reported once, with its thread and, by `stack`, the way there.
 */
#include "contract/house.h"

static const char *const tags[] = { "nightly report", "checkout", "login" };

/* The first takes one that is there, the others have theirs made. */
static void borrow_each(struct house *h, kp_lease *lease)
{
    house_stock(h, "db", 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kp_get(h->pool, kp_str("db"), KP_ASK(.tag = tags[i]), &lease[i]), 0);
        house_pass(h, 1000);
    }
}

static kp_options of_three(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = 3;
    o.leak_after_ms = KP_SECONDS(60);
    return o;
}

static void a_time_out_must_name_the_one_who_has_it_the_longest(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = of_three(&h);

    (void)state;
    house_open(&h, &o);
    borrow_each(&h, lease);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.oldest_tag, "nightly report");
    HOUSE_IS(&h, h.why.oldest_lent_ms, 4000);
    assert_non_null(strstr(h.why.text, "nightly report"));
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    house_close(&h);
}

static void all_who_have_one_must_be_listed(void **state)
{
    char text[2000];
    struct house h;
    kp_lease lease[3];
    kp_options o = of_three(&h);

    (void)state;
    house_open(&h, &o);
    borrow_each(&h, lease);
    assert_in_range(kp_explain(h.pool, kp_str("db"), text, sizeof text), 1, sizeof text - 1);
    for (int i = 0; i < 3; i++) {
        const char *line = strstr(text, tags[i]);
        assert_non_null(line);
        assert_non_null(strstr(line, ", thread "));
        assert_non_null(strstr(line, ", got at 0x"));
    }
    kp_release(&lease[1]);
    (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
    assert_null(strstr(text, tags[1]));
    kp_release(&lease[0]);
    kp_release(&lease[2]);
    house_close(&h);
}

/* Who had its first place has given that back, and another has it now. */
static void all_who_share_one_must_be_known(void **state)
{
    char text[2000];
    struct house h;
    kp_lease lease[3];
    kp_options o = of_three(&h);

    (void)state;
    o.limits.max_live = 1;
    o.limits.sharing = 3;
    house_open(&h, &o);
    borrow_each(&h, lease);
    kp_release(&lease[0]);
    (void)kp_explain(h.pool, kp_str("db"), text, sizeof text);
    assert_null(strstr(text, tags[0]));
    assert_non_null(strstr(text, tags[1]));
    assert_non_null(strstr(text, tags[2]));
    assert_int_equal(kp_get(h.pool, kp_str("db"), KP_ASK(.tag = "late"), &lease[0]), 0);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.oldest_tag, tags[1]);
    HOUSE_IS(&h, h.why.oldest_lent_ms, 3000);
    for (int i = 0; i < 3; i++) kp_release(&lease[i]);
    house_close(&h);
}

static const void *site;
static const char *tag;
static uint64_t thread;
static int64_t lent_ms;

static void remember(struct house *h, const kp_event *event)
{
    (void)h;
    if (event->kind != KP_EVENT_LEAK) return;
    site = event->site;
    tag = event->tag;
    thread = event->thread;
    lent_ms = event->lent_ms;
}

static void one_that_is_out_for_too_long_must_be_reported_once(void **state)
{
    struct house h;
    kp_lease lease[3];
    kp_options o = of_three(&h);

    (void)state;
    house_open(&h, &o);
    h.also = remember;
    borrow_each(&h, lease);
    kp_release(&lease[1]);
    kp_release(&lease[2]);
    house_pass(&h, KP_SECONDS(56));
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 0);
    house_pass(&h, KP_SECONDS(2));
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 1);
    assert_string_equal(tag, "nightly report");
    assert_non_null(site);
    assert_int_not_equal(thread, 0);
    HOUSE_IS(&h, lent_ms, KP_SECONDS(60));
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, h.seen[KP_EVENT_LEAK], 1);
    HOUSE_IS(&h, house_stats(&h, "db").leaks, 1);
    kp_release(&lease[0]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_out_must_name_the_one_who_has_it_the_longest),
        cmocka_unit_test(all_who_have_one_must_be_listed),
        cmocka_unit_test(all_who_share_one_must_be_known),
        cmocka_unit_test(one_that_is_out_for_too_long_must_be_reported_once),
    };
    return cmocka_run_group_tests_name("request 25", tests, NULL, NULL);
}
