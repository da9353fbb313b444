/* SPDX-License-Identifier: MIT
 *
 * Request 45, HikariCP#1287, #1445, bb8#176, sftp-fs#10, node-ibm_db#847: a pool is filled by one
 * connect after the other: a hundred that take two seconds each take minutes, and who comes
 * meanwhile runs out of time. Here as many are made at once as `max_creating` says, 2 if it says
 * nothing: each on the thread of its own request, or, where the driver answers later, all of them
 * by nobody's thread; the minimum, too. And who waits takes whatever is ready first.
 */
#include "contract/house.h"

enum { MANY = 50, CREATE_MS = 2000 };

static const kp_line blocking[] = { { .blocks_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
static const kp_line later[] = { { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };

static void begins(struct house *h, bool blocks, int64_t at_once, int64_t min_live)
{
    const kp_script script = { .create = blocks ? blocking : later };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.limits.max_live = MANY;
    o.limits.max_creating = at_once;
    o.limits.min_live = min_live;
    house_open(h, &o);
}

static void all_who_come_at_once_must_be_served_after_one_connect(void **state)
{
    static struct visitor v[MANY];
    struct house h;

    (void)state;
    for (int blocks = 0; blocks <= 1; blocks++) {
        begins(&h, blocks, MANY, KP_NONE);
        memset(v, 0, sizeof v);
        for (int i = 0; i < MANY; i++) visitor_send(&h, &v[i], "db", KP_SECONDS(5));
        HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
        for (int i = 0; i < MANY; i++) {
            visitor_end(&v[i]);
            HOUSE_IS(&h, v[i].rc, 0);
            HOUSE_IS(&h, v[i].answered_ms, CREATE_MS);
        }
        for (int i = 0; i < MANY; i++) house_release(&h, &v[i].lease);
        house_close(&h);
    }
}

/* Two at a time: but nobody waits for a connect of his own where one comes back. */
static void by_default_who_waits_must_take_what_is_ready_first(void **state)
{
    static struct visitor v[MANY];
    struct house h;

    (void)state;
    begins(&h, true, 0, KP_NONE);
    memset(v, 0, sizeof v);
    for (int i = 0; i < MANY; i++) {
        v[i].stay_ms = 100;
        visitor_send(&h, &v[i], "db", KP_SECONDS(5));
    }
    HOUSE_IS(&h, house_stats(&h, "db").creating, 2);
    kp_sim_join(h.sim, 0);
    for (int i = 0; i < MANY; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_HAS(&h, house_cast(&h).creates <= 6);
    house_close(&h);
}

static void the_minimum_must_be_there_after_one_connect(void **state)
{
    struct house h;

    (void)state;
    begins(&h, false, MANY, MANY);
    kp_lease lease = house_get(&h, "db"); /* the first get has the rest made meanwhile */
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), CREATE_MS);
    house_release(&h, &lease);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, "db").idle, MANY);
    house_close(&h);
}

static void many_keys_must_be_warm_after_one_connect(void **state)
{
    static char name[MANY][16];
    static kp_key keys[MANY];
    struct house h;

    (void)state;
    begins(&h, false, 1, KP_NONE);
    for (int i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "db%d", i);
        keys[i] = kp_str(name[i]);
    }
    HOUSE_IS(&h, kp_warm(h.pool, keys, MANY, KP_IN_S(5)), MANY);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), CREATE_MS);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, MANY);
    house_close(&h);
}

/* Five at a time over all keys, in the background: the next begins when one is there. */
static void keys_must_not_wait_longer_than_for_each_others_connects(void **state)
{
    static char name[MANY][16];
    static kp_key keys[MANY];
    enum { QUICK_MS = 30 };
    static const kp_line quick[] = { { .takes_ms = QUICK_MS, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = quick };
    struct house h;

    (void)state;
    kp_options o = house_plan(&h, 1, NULL, &script);
    o.limits.min_live = 2;
    o.budget.max_creating = 5;
    house_open(&h, &o);
    for (int i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "db%d", i);
        keys[i] = kp_str(name[i]);
    }
    HOUSE_IS(&h, kp_warm(h.pool, keys, MANY, NULL), 0);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).creating, 5);
    HOUSE_IS(&h, kp_drop(h.pool, keys[MANY - 1], KP_NONE), 0); /* and two are not wanted any more */
    house_pass(&h, 2 * MANY / 5 * QUICK_MS - 2);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 2 * MANY - 5);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).idle, 2 * MANY - 2);
    house_close(&h);
}

/* One connect at a time: four keys are to be warm, and three of them stand in line. */
static void stand_in_line(struct house *h)
{
    static const kp_line quick[] = { { .takes_ms = 30, .times = KP_OFF }, { 0 } };
    const kp_key keys[] = { kp_str("first"), kp_str("second"), kp_str("third"), kp_str("last") };
    const kp_script script = { .create = quick };
    kp_options o = house_plan(h, 1, NULL, &script);

    o.budget.max_creating = 1;
    house_open(h, &o);
    HOUSE_IS(h, kp_warm(h->pool, keys, 4, NULL), 0);
    house_pass(h, 1);
    HOUSE_IS(h, house_stats(h, "first").creating, 1);
}

static void the_line_must_be_kept(void **state)
{
    const char *const order[] = { "second", "third", "last", "newest" };
    const kp_key newest = kp_str("newest");
    struct house h;

    (void)state;
    stand_in_line(&h);
    HOUSE_IS(&h, kp_warm(h.pool, &newest, 1, NULL), 0);
    house_pass(&h, 30);
    for (int i = 0; i < 4; i++) {
        HOUSE_IS(&h, house_stats(&h, order[i]).creating, 1);
        house_pass(&h, 30);
        HOUSE_IS(&h, house_stats(&h, order[i]).idle, 1);
    }
    house_close(&h);
}

static void a_key_that_goes_must_leave_the_line(void **state)
{
    const kp_key newest = kp_str("newest");
    struct house h;

    (void)state;
    stand_in_line(&h);
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("second"), KP_NONE), 0);
    HOUSE_IS(&h, kp_warm(h.pool, &newest, 1, NULL), 0); /* in its memory, but not in its place */
    house_pass(&h, 4 * 30);
    HOUSE_IS(&h, house_stats(&h, "third").idle, 1);
    HOUSE_IS(&h, house_stats(&h, "last").idle, 1);
    HOUSE_IS(&h, house_stats(&h, "newest").idle, 1);
    house_close(&h);
}

static void a_key_that_wants_no_more_must_let_the_next_one_on(void **state)
{
    struct visitor v = { .stay_ms = 0 };
    struct house h;

    (void)state;
    stand_in_line(&h);
    visitor_send(&h, &v, "second", KP_SECONDS(5)); /* a request comes before the line */
    house_pass(&h, 4 * 30);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, house_stats(&h, "third").idle, 1);
    HOUSE_IS(&h, house_stats(&h, "last").idle, 1);
    house_release(&h, &v.lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_come_at_once_must_be_served_after_one_connect),
        cmocka_unit_test(by_default_who_waits_must_take_what_is_ready_first),
        cmocka_unit_test(the_minimum_must_be_there_after_one_connect),
        cmocka_unit_test(many_keys_must_be_warm_after_one_connect),
        cmocka_unit_test(keys_must_not_wait_longer_than_for_each_others_connects),
        cmocka_unit_test(the_line_must_be_kept),
        cmocka_unit_test(a_key_that_goes_must_leave_the_line),
        cmocka_unit_test(a_key_that_wants_no_more_must_let_the_next_one_on),
    };
    return cmocka_run_group_tests_name("request 45", tests, NULL, NULL);
}
