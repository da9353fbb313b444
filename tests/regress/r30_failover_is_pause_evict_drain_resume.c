/* SPDX-License-Identifier: MIT
 *
 * Request 30, HikariCP#181, #178, #514, #1667: for a failover, hold back new borrowers, evict all
 * connections, wait until none is in use, and go on. Here for one key or for all: `max_lent` none
 * makes requests wait, up to their deadlines; kp_invalidate_key marks what there is; kp_drain comes
 * back when what was lent has ended; and with `max_lent` as it was those who waited have new ones.
 * Where the old server serves on for a while (a switch that was planned), kp_rotate does it without
 * a pause: each is replaced by one of the new server before it goes. (What is just being made when
 * the failover begins: request 41.)
 */
#include "contract/house.h"

enum { LENT = 3, IDLE = 2, OLD = LENT + IDLE };

static void lets(struct house *h, const char *key, int64_t max_lent)
{
    const kp_limits limits = { .max_lent = max_lent };

    assert_int_equal(kp_limits_set(h->pool, kp_str(key), &limits, NULL), 0);
    house_settle(h);
}

/* Three are in use, for 500, 600 and 700 ms; two are idle. */
static void begins(struct house *h, struct visitor *v)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    house_open(h, &o);
    h->waits_by_choice = true; /* for those who are held back */
    house_stock(h, "db", OLD);
    for (int i = 0; i < LENT; i++) {
        v[i] = (struct visitor){ .stay_ms = 500 + 100 * i };
        visitor_send(h, &v[i], "db", 1000);
    }
}

static void who_is_held_back_must_be_served_by_the_new_server(void **state)
{
    struct visitor v[LENT], next[2] = { { .stay_ms = KP_NONE }, { .stay_ms = KP_NONE } };
    struct visitor brief = { 0 };
    struct house h;

    (void)state;
    begins(&h, v);
    lets(&h, "db", KP_NONE);
    for (int i = 0; i < 2; i++) visitor_send(&h, &next[i], "db", KP_SECONDS(30));
    visitor_send(&h, &brief, "db", 200);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), OLD);
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), KP_SECONDS(10)), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 700);
    HOUSE_IS(&h, house_cast(&h).destroys, OLD);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    HOUSE_IS(&h, brief.rc, KP_ETIMEDOUT); /* a pause prolongs no deadline */
    HOUSE_IS(&h, brief.answered_ms, 200);
    for (int i = 0; i < 2; i++) HOUSE_HAS(&h, !next[i].answered);
    lets(&h, "db", KP_UNLIMITED);
    for (int i = 0; i < 2; i++) {
        visitor_end(&next[i]);
        HOUSE_IS(&h, next[i].rc, 0);
        HOUSE_IS(&h, next[i].answered_ms, 700);
        HOUSE_HAS(&h, next[i].number > OLD);
    }
    house_close(&h);
}

static void other_keys_must_go_on_meanwhile(void **state)
{
    struct visitor v[LENT];
    struct house h;

    (void)state;
    begins(&h, v);
    lets(&h, "db", KP_NONE);
    kp_lease lease = house_get_within(&h, "replica", 1);
    house_release(&h, &lease);
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("replica"), KP_SECONDS(10)), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_try(&h, "db", &lease), KP_EAGAIN); /* though two are idle */
    lets(&h, "db", KP_UNLIMITED);
    HOUSE_IS(&h, house_try(&h, "db", &lease), 0);
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    house_close(&h);
}

/* The same for the whole pool: its budget lends nothing, and each key's limits stay as they are. */
static void the_whole_pool_must_fail_over_by_its_budget(void **state)
{
    const kp_budget pause = { .max_lent = KP_NONE };
    kp_budget before;
    struct visitor v[LENT], next[2] = { { .stay_ms = KP_NONE }, { .stay_ms = KP_NONE } };
    struct house h;

    (void)state;
    begins(&h, v);
    house_stock(&h, "replica", 2);
    assert_int_equal(kp_budget_read(h.pool, &before), 0);
    assert_int_equal(kp_budget_set(h.pool, &pause, NULL), 0);
    visitor_send(&h, &next[0], "db", KP_SECONDS(30));
    visitor_send(&h, &next[1], "replica", KP_SECONDS(30));
    HOUSE_IS(&h, kp_evict(h.pool, KP_EVERY_KEY, KP_NONE), IDLE + 2);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, KP_EVERY_KEY), LENT);
    HOUSE_IS(&h, kp_drain(h.pool, KP_EVERY_KEY, KP_SECONDS(10)), 0);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 700);
    HOUSE_IS(&h, house_stats(&h, NULL).live, 0);
    for (int i = 0; i < 2; i++) HOUSE_HAS(&h, !next[i].answered);
    assert_int_equal(kp_budget_set(h.pool, &before, NULL), 0);
    for (int i = 0; i < 2; i++) {
        visitor_end(&next[i]);
        HOUSE_IS(&h, next[i].rc, 0);
        HOUSE_IS(&h, next[i].answered_ms, 700);
        HOUSE_HAS(&h, next[i].number > OLD + 2);
    }
    house_close(&h);
}

static void one_who_does_not_give_back_must_be_counted_at_the_deadline(void **state)
{
    struct visitor v[LENT];
    struct house h;

    (void)state;
    begins(&h, v);
    lets(&h, "db", KP_NONE);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), OLD);
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), 550), 2);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 550);
    lets(&h, "db", KP_UNLIMITED); /* and it goes on without waiting for them */
    kp_lease lease = house_get_within(&h, "db", 1);
    HOUSE_HAS(&h, house_number(&lease) > OLD);
    house_release(&h, &lease);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, house_cast(&h).destroys, OLD); /* they went as they came back */
    house_close(&h);
}

/* ---- a switch that was planned --------------------------------------------------------------- */

enum { CREATE_MS = 200 };

/* A driver whose address is another one from some epoch on. */
static struct {
    kp_driver real;
    unsigned old, young;
} server;

static int create(kp_job *job, void **resource)
{
    job->epoch == 1 ? server.old++ : server.young++;
    return server.real.create(job, resource);
}

static kp_options with_two_servers(struct house *h)
{
    static const kp_line slow[] = { { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
    static const kp_script slowly = { .create = slow };
    kp_options o = house_plan(h, 1, NULL, &slowly);

    server.real = o.driver;
    server.old = server.young = 0;
    o.driver.create = create;
    o.limits.max_live = OLD;
    o.limits.surplus = 1;
    o.limits.renew_ahead_ms = KP_SECONDS(5);
    return o;
}

static void a_planned_switch_must_hold_nobody_back(void **state)
{
    static const char *const db[] = { "db" };
    struct worker w[OLD];
    struct house h;
    kp_options o = with_two_servers(&h);

    (void)state;
    house_open(&h, &o);
    house_stock(&h, "db", OLD);
    uint64_t waits = house_stats(&h, "db").waits;
    for (int i = 0; i < OLD; i++) {
        w[i] = (struct worker){ .house = &h, .keys = db, .key_count = 1, .rounds = 200,
                                .hold_ms = 100 + i, .within_ms = KP_SECONDS(1) };
        w[i].task = kp_sim_spawn(h.sim, worker_run, &w[i]);
    }
    house_pass(&h, 1000);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_SECONDS(10)), OLD);
    house_pass(&h, KP_SECONDS(10));
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), KP_SECONDS(1)), 0);
    kp_stats s = house_stats(&h, "db");
    HOUSE_IS(&h, s.renewed, OLD);
    HOUSE_IS(&h, s.waits, waits);
    HOUSE_IS(&h, s.live, OLD);
    HOUSE_IS(&h, server.old, OLD);
    HOUSE_IS(&h, server.young, OLD);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < OLD; i++) HOUSE_IS(&h, w[i].got, 200);
    HOUSE_HAS(&h, house_cast(&h).most_live <= OLD + 1);
    house_close(&h);
}

/* The pause as before, and the rotation in it: all go at once, and what is made is of the new. */
static void a_rotation_within_a_pause_must_end_all_at_once(void **state)
{
    struct visitor v = { .stay_ms = 500 }, next = { .stay_ms = KP_NONE };
    struct house h;
    kp_options o = with_two_servers(&h);

    (void)state;
    house_open(&h, &o);
    h.waits_by_choice = true; /* for the one who is held back */
    house_stock(&h, "db", OLD);
    visitor_send(&h, &v, "db", 1000);
    lets(&h, "db", KP_NONE);
    visitor_send(&h, &next, "db", KP_SECONDS(30));
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_NONE), OLD);
    HOUSE_IS(&h, house_stats(&h, "db").live, 1); /* which is lent */
    HOUSE_IS(&h, kp_drain(h.pool, kp_str("db"), KP_SECONDS(10)), 0);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    HOUSE_IS(&h, server.young, 0);
    lets(&h, "db", KP_UNLIMITED);
    visitor_end(&next);
    HOUSE_IS(&h, next.rc, 0);
    HOUSE_IS(&h, next.number, OLD + 1);
    HOUSE_IS(&h, server.young, 1);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_held_back_must_be_served_by_the_new_server),
        cmocka_unit_test(other_keys_must_go_on_meanwhile),
        cmocka_unit_test(the_whole_pool_must_fail_over_by_its_budget),
        cmocka_unit_test(one_who_does_not_give_back_must_be_counted_at_the_deadline),
        cmocka_unit_test(a_planned_switch_must_hold_nobody_back),
        cmocka_unit_test(a_rotation_within_a_pause_must_end_all_at_once),
    };
    return cmocka_run_group_tests_name("request 30", tests, NULL, NULL);
}
