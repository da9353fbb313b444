/* SPDX-License-Identifier: MIT
 *
 * Request 41, HikariCP#1836, MySqlConnector#1648, simstudioai/sim PR #5760: all connections are
 * evicted, since the password or the address is a new one; but one that was just being made, with
 * the old one, is put into the pool a moment later, and is lent until its age is over. Here
 * kp_rotate retires that, too: at once, with KP_NONE as its period. It never becomes idle, and who
 * waits for it has a new one; a request whose own thread made it is lent it that once, and can see
 * so (kp_lease_about.old). kp_job.epoch tells the driver which address or password to use.
 */
#include "contract/house.h"

enum { CREATE_MS = 1000, BEGUN_MS = 400 };

/* The address is another one from the second epoch on. */
static struct {
    kp_driver real;
    uint64_t of_old[8]; /* the serials of what was made at the old one */
    unsigned old, young;
} server;

static int create(kp_job *job, void **resource)
{
    if (job->epoch > 1) server.young++;
    else server.of_old[server.old++ % 8] = job->serial;
    return server.real.create(job, resource);
}

static void begins(struct house *h, bool blocks)
{
    static const kp_line later[] = { { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
    static const kp_line blocking[] = { { .blocks_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = blocks ? blocking : later };
    kp_options o = house_plan(h, 1, NULL, &script);

    memset(&server, 0, sizeof server);
    server.real = o.driver;
    o.driver.create = create;
    house_open(h, &o);
    h->waits_by_choice = true; /* for who waits in the pause */
}

static void lets(struct house *h, int64_t max_lent)
{
    const kp_limits limits = { .max_lent = max_lent };

    assert_int_equal(kp_limits_set(h->pool, kp_str("db"), &limits, NULL), 0);
    house_settle(h);
}

/* Pause, retire, drain, resume; while one is being made. */
static void fails_over(struct house *h)
{
    lets(h, KP_NONE);
    HOUSE_IS(h, kp_rotate(h->pool, kp_str("db"), KP_NONE), 0); /* nothing is there yet */
    HOUSE_IS(h, kp_drain(h->pool, kp_str("db"), KP_SECONDS(10)), 0);
    lets(h, KP_UNLIMITED);
}

static void must_be_of_the_new(struct house *h, kp_lease *lease)
{
    kp_lease_about about;

    HOUSE_HAS(h, kp_lease_read(lease, &about));
    for (unsigned i = 0; i < server.old; i++) HOUSE_HAS(h, about.serial != server.of_old[i]);
    HOUSE_HAS(h, !about.old);
}

static void who_waits_for_it_must_have_one_of_the_new(void **state)
{
    struct visitor v = { 0 };
    struct house h;

    (void)state;
    begins(&h, false);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, BEGUN_MS);
    fails_over(&h);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_IS(&h, v.answered_ms, 2 * CREATE_MS);
    must_be_of_the_new(&h, &v.lease);
    house_release(&h, &v.lease);
    HOUSE_IS(&h, server.old, 1);
    HOUSE_IS(&h, server.young, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

static void who_made_it_must_be_told_and_be_the_last_who_has_it(void **state)
{
    struct visitor v = { 0 };
    kp_lease_about about;
    struct house h;

    (void)state;
    begins(&h, true);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, BEGUN_MS);
    fails_over(&h);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    HOUSE_HAS(&h, kp_lease_read(&v.lease, &about) && about.old);
    house_release(&h, &v.lease);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    kp_lease lease = house_get(&h, "db");
    must_be_of_the_new(&h, &lease);
    house_release(&h, &lease);
    house_close(&h);
}

static void what_nobody_waits_for_any_more_must_not_become_idle(void **state)
{
    struct visitor v = { 0 };
    struct house h;

    (void)state;
    begins(&h, false);
    visitor_send(&h, &v, "db", BEGUN_MS + 100);
    house_pass(&h, BEGUN_MS);
    fails_over(&h);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, KP_ETIMEDOUT);
    house_pass(&h, 2 * CREATE_MS);
    HOUSE_IS(&h, house_cast(&h).creates, 1);
    HOUSE_IS(&h, house_stats(&h, "db").live, 0);
    kp_lease lease = house_get(&h, "db");
    must_be_of_the_new(&h, &lease);
    house_release(&h, &lease);
    house_close(&h);
}

/* Another rotation, which has time, comes before it is made. */
static void a_rotation_that_follows_must_not_put_it_off(void **state)
{
    struct visitor v = { 0 };
    struct house h;

    (void)state;
    begins(&h, false);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, BEGUN_MS);
    fails_over(&h);
    house_pass(&h, 100);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_HOURS(1)), 0);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, 0);
    must_be_of_the_new(&h, &v.lease);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* The same in the background: a minimum that is just being made. */
static void a_minimum_that_is_being_made_must_be_of_the_new(void **state)
{
    const kp_limits limits = { .min_live = 3, .refill = KP_REFILL_EAGER };
    struct house h;

    (void)state;
    begins(&h, false);
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &limits, NULL), 0);
    house_pass(&h, BEGUN_MS);
    HOUSE_IS(&h, house_stats(&h, "db").creating, 2);
    HOUSE_IS(&h, kp_rotate(h.pool, KP_EVERY_KEY, KP_NONE), 1); /* the one that is there */
    house_pass(&h, 5 * CREATE_MS);
    HOUSE_IS(&h, server.old, 3);
    HOUSE_IS(&h, server.young, 3);
    HOUSE_IS(&h, house_stats(&h, "db").idle, 3);
    kp_lease all[3];
    for (int i = 0; i < 3; i++) {
        all[i] = house_get(&h, "db");
        must_be_of_the_new(&h, &all[i]);
    }
    for (int i = 0; i < 3; i++) house_release(&h, &all[i]);
    house_close(&h);
}

/* What was refused to the old password says nothing of the new one. */
static void a_refusal_of_the_old_must_not_stop_the_new(void **state)
{
    static const kp_line once[] = { { .takes_ms = CREATE_MS, .status = KP_EREFUSED,
                                      .text = "password refused" },
                                    { .takes_ms = CREATE_MS, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = once };
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    house_open(&h, &o);
    visitor_send(&h, &v, "db", KP_SECONDS(30));
    house_pass(&h, BEGUN_MS);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("db"), KP_NONE), 0);
    visitor_end(&v);
    HOUSE_IS(&h, v.rc, KP_ECREATE); /* its own attempt failed, and it is told so */
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_for_it_must_have_one_of_the_new),
        cmocka_unit_test(who_made_it_must_be_told_and_be_the_last_who_has_it),
        cmocka_unit_test(what_nobody_waits_for_any_more_must_not_become_idle),
        cmocka_unit_test(a_rotation_that_follows_must_not_put_it_off),
        cmocka_unit_test(a_minimum_that_is_being_made_must_be_of_the_new),
        cmocka_unit_test(a_refusal_of_the_old_must_not_stop_the_new),
    };
    return cmocka_run_group_tests_name("request 41", tests, NULL, NULL);
}
