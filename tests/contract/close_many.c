/* SPDX-License-Identifier: MIT
 *
 * Closing a pool with many idle resources: many are taken out at a time, and each is still
 * destroyed exactly once, reported, counted, and not delayed for longer than necessary.
 */
#include "contract.h"

enum { ONE_KEY = 150, KEYS = 90, ALL = ONE_KEY + KEYS };

static struct {
    contract *c;
    int destroyed[ALL], gone; /* of each, and of all */
    uint64_t closing;         /* the most that the pool had in CLOSING during one of them */
    int64_t takes_ms;         /* each, from the one on that `slow_from` says */
    int slow_from, fails;     /* every so many; 0: none */
    bool answers_itself;      /* with kp_job_done, before it returns KP_PENDING */
    uint64_t serials;         /* of those that went, added up */
    int told;                 /* failures, each with its own sentence */
} play;

static int make(kp_job *job, void **out)
{
    static int next;

    (void)job;
    *out = &play.destroyed[next++ % ALL];
    return 0;
}

/* Each end has its own resource, although one job ends many. */
static void look_at(kp_job *job, int *resource)
{
    char name[16];
    int i = (int)(resource - play.destroyed);

    (void)snprintf(name, sizeof name, "%d", i < ONE_KEY ? 0 : i);
    assert_int_equal(job->kind, KP_JOB_DESTROY);
    assert_ptr_equal(job->resource, resource);
    assert_string_equal(job->key.data, name);
    assert_null(job->scratch);
    job->scratch = job;
    play.serials += job->serial;
}

static void hear(const kp_event *event, void *ctx)
{
    static const char said[] = "a failure of its own";

    if (event->kind == KP_EVENT_DESTROY_FAILED && strcmp(event->why->text, said) == 0) play.told++;
    contract__event(event, ctx);
}

static int unmake(kp_job *job, void *resource)
{
    kp_stats all;
    kp_lease none;
    int nth = play.gone++, status = play.fails && nth % play.fails == 0 ? -7 : 0;

    ++*(int *)resource;
    look_at(job, resource);
    if (status < 0 && nth % 2 == 0) kp_job_fail(job, -7, "a failure of its own");
    assert_int_equal(kp_stats_read(job->pool, KP_EVERY_KEY, &all), 0); /* no lock is held (L3) */
    assert_int_equal(all.live, all.idle + all.lent + all.closing);
    for (int i = 0; i < ALL; i += ALL - 1) { /* whether it is there still, or has gone */
        assert_int_equal(kp_lease_of(job->pool, &play.destroyed[i], &none), KP_ENOTFOUND);
        assert_int_equal(kp_invalidate(job->pool, &play.destroyed[i]), 0);
    }
    assert_int_equal(kp_add(job->pool, kp_str("0"), resource), KP_ECLOSED);
    if (nth >= play.slow_from && all.closing > play.closing) play.closing = all.closing;
    if (play.takes_ms && nth >= play.slow_from) kp_sim_pass_ms(play.c->sim, play.takes_ms);
    if (!play.answers_itself) return status;
    kp_job_done(job, status, NULL);
    return KP_PENDING;
}

/* Many of one key, and one each of many. */
static void open_full(contract *c)
{
    static kp_lease leases[ALL];
    char name[16];

    memset(&play, 0, sizeof play);
    play.c = c;
    contract_begin(c, NULL);
    c->options.on_event = hear;
    c->options.limits = (kp_limits){ .max_live = ONE_KEY, .max_creating = KP_UNLIMITED };
    contract_open_driver(c, &(kp_driver){ .create = make, .destroy = unmake });
    for (int i = 0; i < ALL; i++) {
        (void)snprintf(name, sizeof name, "%d", i < ONE_KEY ? 0 : i);
        assert_int_equal(kp_get(c->pool, kp_str(name), NULL, &leases[i]), 0);
    }
    for (int i = 0; i < ALL; i++) kp_release(&leases[i]);
    assert_int_equal(contract_stats(c, KP_EVERY_KEY).idle, ALL);
}

static void end_full(contract *c)
{
    assert_int_equal(contract_close(c, KP_CLOSE_NOW, KP_NONE), 0);
    assert_int_equal(play.gone, ALL);
    for (int i = 0; i < ALL; i++) assert_int_equal(play.destroyed[i], 1);
    assert_int_equal(c->events[KP_EVENT_DESTROYED] + c->events[KP_EVENT_DESTROY_FAILED], ALL);
    assert_int_equal(play.serials, ALL * (ALL + 1) / 2);
    kp_sim_join(c->sim, 0);
    assert_int_equal(kp_sim_close(c->sim), 0);
}

static void each_of_many_must_be_destroyed_once_and_told(void **state)
{
    contract c;

    (void)state;
    open_full(&c);
    end_full(&c);
    assert_int_equal(c.events[KP_EVENT_DESTROYED], ALL);
    assert_in_range(play.closing, 2, 64); /* by many, but not by all */
}

/* One lease is left, so that statistics can still be read, also those of each key. */
static void those_that_fail_must_be_told_and_counted_and_the_others_go_on(void **state)
{
    contract c;
    kp_lease lease, same;
    kp_stats all;

    (void)state;
    open_full(&c);
    play.fails = 7;
    assert_int_equal(kp_get(c.pool, kp_str("0"), NULL, &lease), 0);
    assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_int_equal(kp_stats_read(c.pool, KP_EVERY_KEY, &all), 0);
    assert_int_equal(all.destroys, ALL - 1);
    assert_int_equal(kp_lease_of(c.pool, lease.resource, &same), 0); /* it is known still */
    assert_int_equal(all.destroy_failures, (ALL - 1 + 6) / 7);
    assert_int_equal(c.events[KP_EVENT_DESTROY_FAILED], (ALL - 1 + 6) / 7);
    assert_int_equal(play.told, (all.destroy_failures + 1) / 2);
    assert_int_equal(all.live, 1);
    all = contract_stats(&c, kp_str("0"));
    assert_int_equal(all.destroys, ONE_KEY - 1);
    all = contract_stats(&c, kp_str("200"));
    assert_int_equal(all.destroys, 1);
    assert_int_equal(all.live, 0);
    play.fails = 0;
    kp_release(&lease);
    end_full(&c);
}

static void answers_that_come_later_must_end_each_of_them(void **state)
{
    contract c;

    (void)state;
    open_full(&c);
    play.answers_itself = true;
    play.fails = 3;
    end_full(&c);
    assert_int_equal(c.events[KP_EVENT_DESTROY_FAILED], ALL / 3);
}

/* The first batch that turns out slow has been begun; from then on one at a time. */
static void what_is_slow_must_go_one_at_a_time(void **state)
{
    contract c;

    (void)state;
    open_full(&c);
    play.takes_ms = 2;
    end_full(&c);
    assert_int_equal(play.closing, 1);
    open_full(&c);
    play.takes_ms = 2;
    play.slow_from = 63; /* the first after 1, 2, 4, ... 32 */
    end_full(&c);
    assert_int_equal(play.closing, 64);
}

/* A pool of given resources that need no destroy, with and without a listener. */
static void given_ones_must_leave_by_many_too(void **state)
{
    static int given[KEYS];

    (void)state;
    for (int told = 0; told < 2; told++) {
        contract c;
        kp_stats all;
        kp_lease lease;
        contract_begin(&c, NULL);
        c.options.limits.max_live = KEYS;
        if (!told) c.options.on_event = NULL;
        contract_open_driver(&c, &(kp_driver){ .create = NULL });
        for (int i = 0; i < KEYS; i++)
            assert_int_equal(kp_add(c.pool, kp_str("given"), &given[i]), 0);
        assert_int_equal(kp_get(c.pool, kp_str("given"), NULL, &lease), 0);
        assert_int_equal(kp_pool_close(c.pool, KP_CLOSE_NOW, KP_NONE), 1);
        assert_int_equal(c.events[KP_EVENT_DESTROYED], told ? KEYS - 1 : 0);
        assert_int_equal(kp_stats_read(c.pool, KP_EVERY_KEY, &all), 0);
        assert_int_equal(all.destroys, KEYS - 1);
        kp_release(&lease);
        kp_sim_join(c.sim, 0);
        assert_int_equal(kp_sim_close(c.sim), 0);
    }
}

/* ---- while one makes room -------------------------------------------------------------------- */

static int closes_and_starves(kp_job *job, void *resource)
{
    (void)resource;
    if (strcmp(job->key.data, "a") == 0) {
        (void)kp_pool_close(job->pool, KP_CLOSE_NOW, KP_NONE);
        kp_sim_fail_alloc(play.c->sim, 1, true);
    }
    return 0;
}

/* It was promised the room of another, and its resource will be known by its address: for that,
 * too, there is memory already. */
static void a_get_that_makes_room_while_the_pool_closes_must_be_told_so(void **state)
{
    contract c;
    kp_lease lease;

    (void)state;
    memset(&play, 0, sizeof play);
    play.c = &c;
    contract_begin(&c, NULL);
    c.options.budget.max_live = 1;
    contract_open_driver(&c, &(kp_driver){ .create = make, .destroy = closes_and_starves });
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kp_get(c.pool, kp_str(i ? "a" : "b"), NULL, &lease), 0);
        kp_release(&lease);
    }
    assert_int_equal(kp_get(c.pool, kp_str("b"), NULL, &lease), KP_ECLOSED);
    kp_sim_fail_alloc(c.sim, 0, false);
    kp_sim_join(c.sim, 0);
    assert_int_equal(kp_sim_close(c.sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_many_must_be_destroyed_once_and_told),
        cmocka_unit_test(those_that_fail_must_be_told_and_counted_and_the_others_go_on),
        cmocka_unit_test(answers_that_come_later_must_end_each_of_them),
        cmocka_unit_test(what_is_slow_must_go_one_at_a_time),
        cmocka_unit_test(given_ones_must_leave_by_many_too),
        cmocka_unit_test(a_get_that_makes_room_while_the_pool_closes_must_be_told_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
