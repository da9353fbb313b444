/* SPDX-License-Identifier: MIT
 *
 * What a hostile review of waiting found, on the virtual clock: each test is the smallest run in
 * which a warm-up was lost, a thread that waited was not told, or a driver worked on an answer that
 * nobody needed any more. tests/unit has what it found in the core.
 */
#include "house.h"

enum { SOON = 300, LONG = 4000 };

/* ---- who warms a key ------------------------------------------------------------------------- */

struct warmer {
    struct house *house;
    int64_t warm, ended_ms;
    kp_why why;
};

static void warm(void *arg)
{
    struct warmer *w = arg;
    kp_key key = kp_str("w");

    w->warm = kp_warm(w->house->pool, &key, 1, KP_ASK(.within_ms = LONG, .why = &w->why));
    w->ended_ms = kp_sim_now_ms(w->house->sim);
}

static void warmer_send(struct house *h, struct warmer *w)
{
    *w = (struct warmer){ .house = h };
    assert_true(kp_sim_spawn(h->sim, warm, w) > 0);
    house_pass(h, SOON);
    HOUSE_IS(h, w->ended_ms, 0);
}

/* It was told of what has just been done. */
static void warmer_goes_on(struct house *h, const struct warmer *w)
{
    int64_t now = kp_sim_now_ms(h->sim);

    house_settle(h);
    HOUSE_IS(h, w->warm, 1);
    HOUSE_IS(h, w->ended_ms, now);
}

static kp_gate asking;

static void ask_slowly(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)limits;
    kp_gate_pass(((struct house *)ctx)->sim, &asking);
}

/* The thread that pins the key is asking for its limits. */
static void pin(void *arg)
{
    struct house *h = arg;
    kp_key key;

    HOUSE_IS(h, kp_pin(h->pool, kp_str("w"), &key), 0);
    kp_unpin(h->pool, &key);
}

static void open_in_limits_for(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    asking = (kp_gate){ 0 };
    o.limits_for = ask_slowly;
    o.limits.max_live = 2;
    house_open(h, &o);
    assert_true(kp_sim_spawn(h->sim, pin, h) > 0);
    kp_sim_settle(h->sim);
    HOUSE_IS(h, asking.entered, 1);
}

static void a_warm_up_while_limits_are_asked_for_must_not_be_lost(void **state)
{
    struct house h;
    kp_key key = kp_str("w");

    (void)state;
    open_in_limits_for(&h);
    HOUSE_IS(&h, kp_warm(h.pool, &key, 1, NULL), 0);
    house_pass(&h, SOON);
    HOUSE_IS(&h, house_stats(&h, "w").live, 0);
    kp_gate_open(h.sim, &asking);
    house_pass(&h, 1);
    HOUSE_IS(&h, house_stats(&h, "w").idle, 1);
    house_close(&h);
}

static void who_warms_a_key_must_be_told_when_its_limits_are_there(void **state)
{
    struct house h;
    struct warmer w;

    (void)state;
    open_in_limits_for(&h);
    warmer_send(&h, &w);
    kp_gate_open(h.sim, &asking);
    warmer_goes_on(&h, &w);
    house_close(&h);
}

static void all_in_one_group(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    limits->group[0] = 1;
}

static void who_warms_a_key_must_be_told_when_another_leaves_its_group(void **state)
{
    static const kp_limits alone = { .group = { KP_NONE, KP_NONE } };
    struct house h;
    struct warmer w;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits_for = all_in_one_group;
    o.limits.max_live = 2;
    o.budget.group_max_live[0] = 1;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "other");
    warmer_send(&h, &w);
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("other"), &alone, NULL), 0);
    warmer_goes_on(&h, &w);
    house_release(&h, &lease);
    house_close(&h);
}

static void who_warms_a_key_must_be_told_when_a_report_closes_its_circuit(void **state)
{
    struct house h;
    struct warmer w;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.limits.max_live = 3;
    o.limits.min_live = 2;
    o.limits.prefill = KP_PREFILL_NONE;
    o.limits.breaker_counts = KP_BREAK_USE;
    o.limits.breaker_failures = 1;
    o.limits.breaker_open_ms = 10;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "w");
    kp_lease_report(&lease, KP_EGONE);
    house_discard(&h, &lease);
    HOUSE_IS(&h, house_stats(&h, "w").circuits_open, 1);
    house_pass(&h, 10);
    lease = house_get(&h, "w"); /* the probe */
    warmer_send(&h, &w);
    kp_lease_report(&lease, 0);
    warmer_goes_on(&h, &w);
    house_release(&h, &lease);
    house_close(&h);
}

static void who_warms_a_key_must_be_told_when_a_rotation_forgives_it(void **state)
{
    static const kp_line fails[] = { { .status = KP_ECREATE }, { 0 } };
    static const kp_script failing = { .create = fails };
    struct house h;
    struct warmer w;
    kp_options o = house_plan(&h, 1, NULL, &failing);

    (void)state;
    o.limits.retry_first_ms = o.limits.retry_max_ms = KP_HOURS(1);
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "w", 0), KP_ECREATE);
    warmer_send(&h, &w);
    HOUSE_IS(&h, kp_rotate(h.pool, kp_str("w"), KP_NONE), 0);
    warmer_goes_on(&h, &w);
    house_close(&h);
}

/* ---- who closes ------------------------------------------------------------------------------ */

/* While this is armed, allocations take long and fail. */
static struct {
    kp_world world;
    kp_sim *sim;
    kp_gate gate;
    bool armed;
} poor;

static void *alloc_none(size_t size, size_t align, void *ctx)
{
    if (!poor.armed) return kp_sim_world(poor.sim)->alloc(size, align, ctx);
    kp_gate_pass(poor.sim, &poor.gate);
    return NULL;
}

static void close_waiting(void *arg)
{
    struct house *h = arg;

    h->ended = true;
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_WAIT, LONG), 0);
}

static void a_close_must_be_told_when_there_was_no_memory_for_a_refill(void **state)
{
    struct house h;
    kp_key key = kp_str("w");
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    memset(&poor, 0, sizeof poor);
    poor.sim = h.sim;
    poor.world = *o.world;
    poor.world.alloc = alloc_none;
    o.world = &poor.world;
    o.limits.max_live = 4;
    o.limits.sharing = 2; /* each needs memory of its own */
    house_open(&h, &o);
    HOUSE_IS(&h, kp_warm(h.pool, &key, 1, NULL), 0);
    poor.armed = true;
    kp_sim_settle(h.sim);
    HOUSE_IS(&h, poor.gate.entered, 1);
    int task = kp_sim_spawn(h.sim, close_waiting, &h);
    kp_sim_pass_ms(h.sim, SOON);
    assert_false(kp_sim_ended(h.sim, task));
    kp_gate_open(h.sim, &poor.gate);
    kp_sim_settle(h.sim);
    assert_true(kp_sim_ended(h.sim, task));
    house_leave(&h);
}

/* ---- who gave up ----------------------------------------------------------------------------- */

static kp_job *asked;
static int hurried;

static int answers_later(kp_job *job, void *resource)
{
    (void)resource;
    asked = job;
    return KP_PENDING;
}

static void hurry(kp_job *job)
{
    assert_ptr_equal(job, asked);
    hurried++;
}

static void a_check_that_a_thread_gave_up_on_must_be_hurried_once(void **state)
{
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    hurried = 0;
    o.driver.validate = answers_later;
    o.driver.cancel = hurry;
    o.limits.max_live = 1;
    o.limits.validate_after_ms = KP_NONE;
    o.limits.validate_timeout_ms = 100;
    house_open(&h, &o);
    house_stock(&h, "w", 1);
    house_pass(&h, 5);
    HOUSE_IS(&h, house_fails(&h, "w", SOON), KP_ETIMEDOUT);
    HOUSE_IS(&h, hurried, 1);
    kp_job_done(asked, KP_EGONE, NULL);
    house_settle(&h);
    HOUSE_IS(&h, hurried, 1);
    HOUSE_IS(&h, house_stats(&h, "w").live, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warm_up_while_limits_are_asked_for_must_not_be_lost),
        cmocka_unit_test(who_warms_a_key_must_be_told_when_its_limits_are_there),
        cmocka_unit_test(who_warms_a_key_must_be_told_when_another_leaves_its_group),
        cmocka_unit_test(who_warms_a_key_must_be_told_when_a_report_closes_its_circuit),
        cmocka_unit_test(who_warms_a_key_must_be_told_when_a_rotation_forgives_it),
        cmocka_unit_test(a_close_must_be_told_when_there_was_no_memory_for_a_refill),
        cmocka_unit_test(a_check_that_a_thread_gave_up_on_must_be_hurried_once),
    };

    return cmocka_run_group_tests_name("who waits, in hostile eyes", tests, NULL, NULL);
}
