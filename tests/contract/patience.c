/* SPDX-License-Identifier: MIT
 *
 * Waiting must cost nothing: a request that waits sleeps until it is served or its time is up, and
 * does not wake in between, wherever it stands in the queue and whatever it waits for. The world
 * here is the simulated one with a counter in front of `park`. Also L4 where it is easily broken:
 * the deadline holds to the millisecond, however often the request is woken meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { WAITERS = 6 };

struct stage {
    kp_sim   *sim;
    kp_cast  *cast;
    kp_pool  *pool;
    kp_world  world;
    uint64_t  parks;
};

struct waiter {
    struct stage *stage;
    const char   *key;
    int64_t       within_ms, took_ms;
    int           rc;
};

static void count_and_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    struct stage   *s = ctx;
    const kp_world *real = kp_sim_world(s->sim);

    s->parks++;
    real->park(word, while_it_is, until_ns, real->ctx);
}

/* The other functions of the simulated world, with its own ctx. */
static uint64_t now_ns(void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    return real->now_ns(real->ctx);
}

static void *alloc(size_t size, size_t align, void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    return real->alloc(size, align, real->ctx);
}

static void release(void *p, size_t size, void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    real->free(p, size, real->ctx);
}

static uint64_t draw(void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    return real->random(real->ctx);
}

static void wake(uint32_t *word, int how_many, void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    real->wake(word, how_many, real->ctx);
}

static void upkeep(kp_pool *pool, uint64_t due_ns, void *ctx)
{
    const kp_world *real = kp_sim_world(((struct stage *)ctx)->sim);

    real->upkeep(pool, due_ns, real->ctx);
}

static void open_stage(struct stage *s, const kp_line *create, kp_limits limits, kp_budget budget)
{
    kp_options options = { .limits = limits, .budget = budget };

    memset(s, 0, sizeof *s);
    assert_int_equal(kp_sim_open(7, &s->sim), 0);
    assert_int_equal(kp_cast_open(&(const kp_script){ .create = create, .sim = s->sim }, &s->cast),
                     0);
    s->world = (kp_world){ .now_ns = now_ns, .alloc = alloc, .free = release, .random = draw,
                           .park = count_and_park, .wake = wake, .upkeep = upkeep, .ctx = s };
    options.driver = kp_cast_driver(s->cast);
    options.world = &s->world;
    assert_int_equal(kp_pool_open(&options, &s->pool), 0);
}

static void close_stage(struct stage *s)
{
    assert_int_equal(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(60)), 0);
    kp_cast_close(s->cast);
    assert_int_equal(kp_sim_close(s->sim), 0);
}

static void wait_in_vain(void *arg)
{
    struct waiter *w = arg;
    kp_lease       lease;
    int64_t        began = kp_sim_now_ms(w->stage->sim);

    w->rc = kp_get(w->stage->pool, kp_str(w->key), KP_ASK(.within_ms = w->within_ms), &lease);
    w->took_ms = kp_sim_now_ms(w->stage->sim) - began;
    if (w->rc == 0)
        kp_release(&lease);
}

/* So many waiters on a key that nothing comes free for: each must end at its own deadline, to the
 * millisecond, having slept at most `parks` times. */
static void all_wait(struct stage *s, const char *key, uint64_t parks)
{
    struct waiter waiters[WAITERS];

    s->parks = 0;
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){ .stage = s, .key = key, .within_ms = 1000 + 10 * i };
        assert_true(kp_sim_spawn(s->sim, wait_in_vain, &waiters[i]) > 0);
    }
    kp_sim_join(s->sim, 0);
    for (int i = 0; i < WAITERS; i++) {
        assert_int_equal(waiters[i].rc, KP_ETIMEDOUT);
        assert_int_equal(waiters[i].took_ms, waiters[i].within_ms);
    }
    assert_in_range(s->parks, WAITERS, parks * WAITERS);
}

static void requests_for_what_is_lent_must_sleep_until_their_deadline(void **state)
{
    struct stage s;
    kp_lease     lease;

    (void)state;
    open_stage(&s, NULL, (kp_limits){ .max_live = 1 }, (kp_budget){ 0 });
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    all_wait(&s, "a", 2);
    kp_release(&lease);
    close_stage(&s);
}

static void requests_for_a_full_budget_must_sleep_until_their_deadline(void **state)
{
    struct stage s;
    kp_lease     lease;

    (void)state;
    open_stage(&s, NULL, (kp_limits){ 0 }, (kp_budget){ .max_live = 1 });
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    all_wait(&s, "b", 2);
    kp_release(&lease);
    close_stage(&s);
}

static void requests_for_a_pending_create_must_sleep_until_their_deadline(void **state)
{
    static const kp_line slow[] = { { .takes_ms = KP_SECONDS(20), .times = KP_OFF }, { 0 } };
    struct stage         s;

    (void)state;
    open_stage(&s, slow, (kp_limits){ .max_live = 1 }, (kp_budget){ 0 });
    all_wait(&s, "a", 3);
    close_stage(&s);
}

static void requests_in_a_back_off_must_sleep_until_it_is_over(void **state)
{
    static const kp_line fails[] = { { .status = -1, .times = 1 }, { 0 } };
    struct stage         s;
    kp_lease             lease;

    (void)state;
    open_stage(&s, fails, (kp_limits){ .retry_first_ms = 500 }, (kp_budget){ 0 });
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), KP_ECREATE);
    s.parks = 0;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_S(5), &lease), 0);
    assert_in_range(kp_sim_now_ms(s.sim), 0, 500);
    assert_in_range(s.parks, 0, 3);
    kp_release(&lease);
    close_stage(&s);
}

/* A request that loses what it was woken for must not be given its whole time again (L4). */
static void a_deadline_must_not_start_again_with_each_wake(void **state)
{
    struct stage  s;
    struct waiter last = { .stage = &s, .key = "a", .within_ms = 300 };
    kp_lease      lease;

    (void)state;
    open_stage(&s, NULL, (kp_limits){ .max_live = 1 }, (kp_budget){ 0 });
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    assert_true(kp_sim_spawn(s.sim, wait_in_vain, &last) > 0);
    for (int i = 0; i < 40; i++) {      /* something happens every 10 ms, but never for it */
        kp_sim_pass_ms(s.sim, 10);
        kp_lease_reuse(&lease, i % 2);
        assert_int_equal(kp_limits_set(s.pool, kp_str("a"), &(kp_limits){ .max_idle = 1 + i }, 0),
                         0);
    }
    kp_sim_join(s.sim, 0);
    assert_int_equal(last.rc, KP_ETIMEDOUT);
    assert_int_equal(last.took_ms, 300);
    kp_release(&lease);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_for_what_is_lent_must_sleep_until_their_deadline),
        cmocka_unit_test(requests_for_a_full_budget_must_sleep_until_their_deadline),
        cmocka_unit_test(requests_for_a_pending_create_must_sleep_until_their_deadline),
        cmocka_unit_test(requests_in_a_back_off_must_sleep_until_it_is_over),
        cmocka_unit_test(a_deadline_must_not_start_again_with_each_wake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
