/* SPDX-License-Identifier: MIT
 *
 * Request 14, node-postgres#3543, #3197, #2243, PRs #3711, #3721: a connect that ends after its
 * caller's deadline is tracked for ever, by nobody; and a name server that does not answer hangs
 * `connect()`. Here the caller is told at its deadline, to the millisecond; what was made too late
 * for it serves the next in the queue, or is idle; and what never ends keeps its place, is counted
 * as out by a close, and destroyed should it ever come.
 */
#include "contract/house.h"

static const kp_line ten_seconds[] = { { .takes_ms = 10000 }, { 0 } };

static kp_options of_one(struct house *h, const kp_script *script)
{
    kp_options o = house_plan(h, 1, NULL, script);

    o.limits.max_live = 1;
    return o;
}

static void what_comes_late_must_go_to_the_first_who_waits(void **state)
{
    const kp_script script = { .create = ten_seconds };
    struct visitor late = { 0 }, next = { 0 };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    house_open(&h, &o);
    visitor_send(&h, &late, "db", 1000);
    house_pass(&h, 500);
    visitor_send(&h, &next, "db", KP_SECONDS(30));
    visitor_end(&late);
    HOUSE_IS(&h, late.rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, late.answered_ms, 1000);
    visitor_end(&next);
    HOUSE_IS(&h, next.rc, 0);
    HOUSE_IS(&h, next.number, 1); /* that very one */
    HOUSE_IS(&h, next.answered_ms, 10000);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    house_release(&h, &next.lease);
    house_close(&h);
}

static void what_comes_late_must_be_idle_where_nobody_waits(void **state)
{
    const kp_script script = { .create = ten_seconds };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT);
    assert_string_equal(h.why.limit, "create");
    HOUSE_IS(&h, house_stats(&h, "db").creating, 1);
    house_pass(&h, 9000);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
    kp_lease lease = house_get_within(&h, "db", 1);
    HOUSE_IS(&h, house_number(&lease), 1);
    house_release(&h, &lease);
    house_close(&h);
}

static void what_never_comes_must_hang_nobody(void **state)
{
    static kp_gate name_server;
    static const kp_line hangs[] = { { .takes_ms = 1, .gate = &name_server }, { 0 } };
    const kp_script script = { .create = hangs };
    struct house h;
    kp_options o = of_one(&h, &script);

    (void)state;
    name_server = (kp_gate){ 0 };
    o.limits.max_live = 2;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT);
    kp_lease lease = house_get_within(&h, "db", 1000); /* there is room for another */
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_WAIT, 1000), 1);
    h.ended = true;
    kp_gate_open(h.sim, &name_server);
    kp_sim_pass_ms(h.sim, 1);
    house_close(&h); /* it was destroyed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_late_must_go_to_the_first_who_waits),
        cmocka_unit_test(what_comes_late_must_be_idle_where_nobody_waits),
        cmocka_unit_test(what_never_comes_must_hang_nobody),
    };
    return cmocka_run_group_tests_name("request 14", tests, NULL, NULL);
}
