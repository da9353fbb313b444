/* SPDX-License-Identifier: MIT
 *
 * How to test code of your own that uses a pool: a virtual clock, a driver that follows a script,
 * no sleeping and nothing left to chance. Hours pass in microseconds, and the times below hold to
 * the nanosecond.
 */
#include <keyedpool_test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond) ((cond) ? (void)0 : (printf("line %d: %s\n", __LINE__, #cond), exit(1)))

/* The code under test: one fetch, two retries. */
static int count_it(kp_lease *lease, void *arg)
{
    return (void)lease, ++*(int *)arg, 0;
}

static int fetch(kp_pool *pool, int *ran)
{
    kp_plan plan = { .ask = { .within_ms = KP_SECONDS(30) }, .schedule = { .times = 2 } };

    return kp_use(pool, kp_str("key"), &plan, count_it, ran);
}

/* Each test has a world, a cast and a pool of its own. */
struct fixture { kp_sim *sim; kp_cast *cast; kp_pool *pool; };

static struct fixture setup(const kp_line *create)
{
    struct fixture f = { 0 };
    kp_script      script = { .create = create };
    kp_options     options = { .limits = { .max_live = 3 } };

    CHECK(kp_sim_open(1, &f.sim) == 0);
    script.sim = f.sim;
    CHECK(kp_cast_open(&script, &f.cast) == 0);
    options.driver = kp_cast_driver(f.cast);
    options.world = kp_sim_world(f.sim);
    CHECK(kp_pool_open(&options, &f.pool) == 0);
    return f;
}

static void teardown(struct fixture *f)
{
    kp_cast_count n;

    CHECK(kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1)) == 0);
    n = kp_cast_read(f->cast);
    CHECK(n.creates == n.destroys && n.destroyed_twice == 0 && n.used_after == 0);
    kp_cast_close(f->cast);
    CHECK(kp_sim_close(f->sim) == 0);   /* nothing leaked */
}

static void ten_fetches_must_share_one_resource(void)
{
    struct fixture f = setup(NULL);
    int            ran = 0;

    for (int i = 0; i < 10; i++)
        CHECK(fetch(f.pool, &ran) == 0);
    CHECK(ran == 10 && kp_cast_read(f.cast).creates == 1);
    teardown(&f);
}

static void a_refusal_must_be_told_whole(void)
{
    static const kp_line refuses[] = { { .status = -111, .text = "refused" }, { 0 } };
    struct fixture       f = setup(refuses);
    kp_lease             lease;
    kp_why               why;

    CHECK(kp_get(f.pool, kp_str("key"), KP_ASK(.why = &why), &lease) == KP_ECREATE);
    CHECK(why.vendor_code == -111 && strstr(why.text, "refused"));
    teardown(&f);
}

static void two_refusals_must_be_survived_in_300_ms(void)
{
    static const kp_line refuses[] = { { .status = -111, .text = "refused", .times = 2 }, { 0 } };
    struct fixture       f = setup(refuses);
    uint64_t             before = kp_now_ns(f.pool);
    int                  ran = 0;

    CHECK(fetch(f.pool, &ran) == 0 && ran == 1);
    CHECK(kp_now_ns(f.pool) - before == 300000000);     /* 100 ms, then 200 */
    teardown(&f);
}

static void a_backend_that_hangs_must_cost_the_deadline_and_not_be_lost(void)
{
    static const kp_line hangs[] = { { .takes_ms = KP_HOURS(1) }, { 0 } };
    struct fixture       f = setup(hangs);
    kp_lease             lease;
    kp_why               why;
    kp_ask               ask = { .within_ms = KP_SECONDS(30), .why = &why };

    CHECK(kp_get(f.pool, kp_str("key"), &ask, &lease) == KP_ETIMEDOUT);
    CHECK(why.waited_ms == 30000 && why.creating == 1);
    kp_sim_pass_ms(f.sim, KP_HOURS(1));         /* it arrives after all, for the next one */
    CHECK(kp_try_get(f.pool, kp_str("key"), &lease) == 0);
    kp_release(&lease);
    teardown(&f);
}

/* One of a crowd. Tasks are threads of which one runs at a time, so `came` needs no lock. */
struct crowd { struct fixture f; int came; };

static void borrow_for_10_ms(void *arg)
{
    struct crowd *crowd = arg;
    char          key[8];
    kp_lease      lease;

    snprintf(key, sizeof key, "key-%d", crowd->came++ % 5);
    CHECK(kp_get(crowd->f.pool, kp_str(key), NULL, &lease) == 0);
    kp_prop *prop = lease.resource;
    CHECK(strcmp(prop->key, key) == 0 && ++prop->users == 1);
    kp_sim_pass_ms(crowd->f.sim, 10);
    prop->users--;
    kp_release(&lease);
}

static void a_hundred_at_once_on_five_keys_must_share_fifteen(void)
{
    struct crowd crowd = { .f = setup(NULL) };

    for (int i = 0; i < 100; i++)
        CHECK(kp_sim_spawn(crowd.f.sim, borrow_for_10_ms, &crowd) > 0);
    kp_sim_join(crowd.f.sim, 0);
    CHECK(kp_cast_read(crowd.f.cast).creates == 15);    /* three for each key */
    CHECK(kp_sim_now_ms(crowd.f.sim) == 70);            /* 20 for three: seven turns */
    teardown(&crowd.f);
}

int main(void)
{
    ten_fetches_must_share_one_resource();
    a_refusal_must_be_told_whole();
    two_refusals_must_be_survived_in_300_ms();
    a_backend_that_hangs_must_cost_the_deadline_and_not_be_lost();
    a_hundred_at_once_on_five_keys_must_share_fifteen();
    puts("ok");
    return 0;
}
