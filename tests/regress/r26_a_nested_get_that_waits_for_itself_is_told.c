/* SPDX-License-Identifier: MIT
 *
 * Request 26, knex#1381, #1655, uptime-kuma#6486, fortune-postgres#29, node-postgres#1006: "The
 * pool is probably full" is a guess; the cause is often that every transaction holds a connection
 * and asks for a second one inside. Here, with `on_deadlock`, whoever closes the circle is told so
 * at once, with the way round, and a pool that is only full is not called that.
 */
#include "contract/house.h"

enum { HANDLERS = 3 };

/* A transaction: one connection, and for something inside it another one. */
struct handler {
    struct house *h;
    const char *tag;
    kp_gate go;
    int task, rc;
    int64_t ended_ms;
    kp_why why;
};

static void handles(void *arg)
{
    struct handler *one = arg;
    kp_ask ask = { .within_ms = KP_SECONDS(60), .tag = one->tag, .why = &one->why };
    kp_lease outer, inner;

    if (kp_get(one->h->pool, kp_str("db"), &ask, &outer) != 0) one->h->overlaps++;
    kp_gate_pass(one->h->sim, &one->go);
    one->rc = kp_get(one->h->pool, kp_str("db"), &ask, &inner);
    one->ended_ms = kp_sim_now_ms(one->h->sim);
    kp_release(&inner);
    kp_release(&outer);
}

static void comes(struct house *h, struct handler *one, const char *tag)
{
    *one = (struct handler){ .h = h, .tag = tag };
    one->task = kp_sim_spawn(h->sim, handles, one);
    assert_true(one->task > 0);
    house_settle(h);
}

static void goes_on(struct house *h, struct handler *one)
{
    kp_gate_open(h->sim, &one->go);
    house_settle(h);
}

static kp_options of_three(struct house *h, int32_t on_deadlock)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.limits.max_live = HANDLERS;
    o.on_deadlock = on_deadlock;
    return o;
}

static void three_come(struct house *h, struct handler *all)
{
    static const char *const tags[HANDLERS] = { "signup", "invoice", "search" };

    for (int i = 0; i < HANDLERS; i++) comes(h, &all[i], tags[i]);
}

static void the_one_who_closes_the_circle_must_be_told_and_the_others_go_on(void **state)
{
    struct handler all[HANDLERS];
    struct house h;
    kp_options o = of_three(&h, KP_DEADLOCK_REFUSE);

    (void)state;
    house_open(&h, &o);
    three_come(&h, all);
    for (int i = 0; i < HANDLERS; i++) goes_on(&h, &all[i]);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, all[2].rc, KP_EDEADLK);
    assert_non_null(strstr(all[2].why.text, "deadlock: you wait for db"));
    assert_non_null(strstr(all[2].why.text, "lent to you"));
    for (int i = 0; i < 2; i++) HOUSE_IS(&h, all[i].rc, 0);
    for (int i = 0; i < HANDLERS; i++) HOUSE_IS(&h, all[i].ended_ms, 0); /* of a minute */
    HOUSE_IS(&h, h.seen[KP_EVENT_DEADLOCK], 1);
    house_close(&h);
}

static void a_report_must_leave_it_to_the_deadline(void **state)
{
    struct handler all[HANDLERS];
    struct house h;
    kp_options o = of_three(&h, KP_DEADLOCK_REPORT);

    (void)state;
    house_open(&h, &o);
    three_come(&h, all);
    for (int i = 0; i < HANDLERS; i++) goes_on(&h, &all[i]);
    HOUSE_IS(&h, h.seen[KP_EVENT_DEADLOCK], 1);
    HOUSE_IS(&h, house_stats(&h, "db").waiting, HANDLERS);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, all[2].rc, KP_ETIMEDOUT);
    HOUSE_IS(&h, all[2].ended_ms, KP_SECONDS(60));
    HOUSE_IS(&h, h.seen[KP_EVENT_DEADLOCK], 1);
    house_close(&h);
}

/* Two wait inside, the third works: it will give back. */
static void a_pool_that_is_only_full_must_not_be_called_a_deadlock(void **state)
{
    struct handler all[HANDLERS];
    struct house h;
    kp_options o = of_three(&h, KP_DEADLOCK_REFUSE);

    (void)state;
    house_open(&h, &o);
    three_come(&h, all);
    for (int i = 0; i < 2; i++) goes_on(&h, &all[i]);
    HOUSE_IS(&h, house_fails(&h, "db", 1000), KP_ETIMEDOUT); /* nor one who holds nothing */
    HOUSE_IS(&h, h.seen[KP_EVENT_DEADLOCK], 0);
    HOUSE_IS(&h, house_stats(&h, "db").waiting, 2);
    goes_on(&h, &all[2]); /* now it is one */
    HOUSE_IS(&h, all[2].rc, KP_EDEADLK);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < 2; i++) HOUSE_IS(&h, all[i].rc, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_one_who_closes_the_circle_must_be_told_and_the_others_go_on),
        cmocka_unit_test(a_report_must_leave_it_to_the_deadline),
        cmocka_unit_test(a_pool_that_is_only_full_must_not_be_called_a_deadlock),
    };
    return cmocka_run_group_tests_name("request 26", tests, NULL, NULL);
}
