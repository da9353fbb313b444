/* SPDX-License-Identifier: MIT
 *
 * Request 2, go-sql-driver/mysql#509, jackc/pgx#1221: two handles of a program go to one server
 * that takes 150 connections; nobody knows how they should be split, and a map of pools exceeds
 * what the server takes. There every handle has a limit of its own. Here several keys name one
 * group, and draw from its budget however the need falls; keys of another server have another.
 */
#include "contract/house.h"

enum { SERVER_TAKES = 150 };

/* "reader" and "writer" go to server 1, "other" to server 2. */
static void by_server(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->group[0] = key.size == 5 ? 2 : 1;
}

static kp_options two_servers(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.budget.group_max_live[0] = SERVER_TAKES;
    o.limits.max_live = KP_UNLIMITED;
    o.limits_for = by_server;
    return o;
}

static void fills_the_server(struct house *h, const char *most, const char *one)
{
    static kp_lease lease[SERVER_TAKES];
    struct visitor v = { 0 };

    for (int i = 0; i < SERVER_TAKES; i++)
        lease[i] = house_get_within(h, i == 75 ? one : most, 1);
    HOUSE_IS(h, house_stats(h, most).lent, SERVER_TAKES - 1);
    visitor_send(h, &v, one, 1000);
    HOUSE_HAS(h, !v.answered);
    house_release(h, &lease[0]);
    house_settle(h);
    HOUSE_IS(h, v.rc, 0);
    HOUSE_IS(h, v.answered_ms, v.asked_ms);
    house_release(h, &v.lease);
    for (int i = 1; i < SERVER_TAKES; i++) house_release(h, &lease[i]);
}

static void the_split_must_follow_the_need_and_never_exceed_the_server(void **state)
{
    struct house h;
    kp_options o = two_servers(&h);

    (void)state;
    house_open(&h, &o);
    fills_the_server(&h, "reader", "writer");
    fills_the_server(&h, "writer", "reader");
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_cast(&h).most_live, SERVER_TAKES);
    house_close(&h);
}

static void a_full_server_must_name_its_limit_and_not_concern_another(void **state)
{
    static kp_lease lease[SERVER_TAKES];
    struct house h;
    kp_options o = two_servers(&h);

    (void)state;
    house_open(&h, &o);
    for (int i = 0; i < SERVER_TAKES; i++) lease[i] = house_get_within(&h, "reader", 1);
    HOUSE_IS(&h, house_fails(&h, "writer", 100), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "budget.group_max_live");
    kp_lease other = house_get_within(&h, "other", 1);
    house_release(&h, &other);
    for (int i = 0; i < SERVER_TAKES; i++) house_release(&h, &lease[i]);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_split_must_follow_the_need_and_never_exceed_the_server),
        cmocka_unit_test(a_full_server_must_name_its_limit_and_not_concern_another),
    };
    return cmocka_run_group_tests_name("request 2", tests, NULL, NULL);
}
