/* SPDX-License-Identifier: MIT
 *
 * What a hostile review of the core found: in each test a slot was taken for what it had been a
 * moment before. It had been idle and is being checked, or it had one borrower and has the next,
 * because the lock was released in between.
 */
#include "failover.h"

static struct house *const h = &failover.h;

/* ---- what is tested -------------------------------------------------------------------------- */

static const kp_line slow_answers[] = { { .takes_ms = 1000, .times = KP_OFF }, { 0 } };

/* One, made by a warm-up or used once, of which the test by upkeep has just begun. */
static void until_one_is_tested(const kp_options *o, bool used)
{
    house_open(h, o);
    if (used) house_stock(h, "db", 1);
    else HOUSE_IS(h, kp_warm(h->pool, &(kp_key){ "db", 2 }, 1, KP_IN_MS(100)), 1);
    while (house_stats(h, "db").testing == 0) house_pass(h, 1);
}

/* It takes too long, and is looked at for that; nobody can hurry it. */
static void what_is_tested_when_its_age_ends_must_go_after_the_test(void **state)
{
    const kp_script script = { .validate = slow_answers };
    kp_options o = failover_plan(1, &script);

    (void)state;
    o.driver.validate = kp_cast_driver(h->cast).validate;
    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_every_ms = 500;
    o.limits.validate_timeout_ms = 600;
    o.limits.max_age_ms = 1000;
    o.limits.age_spread_pct = KP_NONE;
    o.limits.renew_ahead_ms = 100; /* nobody ever used it: it is not replaced, and goes then */
    until_one_is_tested(&o, false);
    int64_t answered = kp_sim_now_ms(h->sim) + 1000;
    HOUSE_HAS(h, answered > 900 && answered <= 500 + 1000);
    house_pass(h, answered - 1 - kp_sim_now_ms(h->sim));
    HOUSE_IS(h, house_stats(h, "db").testing, 1);
    HOUSE_IS(h, house_cast(h).destroys, 0);
    house_pass(h, 1);
    HOUSE_IS(h, house_stats(h, "db").live, 0);
    HOUSE_IS(h, h->causes.last, KP_CAUSE_AGE);
    house_close(h);
}

static int hurried;

static void hurry(kp_job *job)
{
    hurried++;
    kp_job_done(job, -1, NULL);
}

static int never_answers(kp_job *job, void *resource)
{
    (void)job;
    (void)resource;
    return KP_PENDING;
}

/* It is looked at after 200 ms, since its end is near. */
static void a_look_for_its_age_must_not_hurry_a_test(void **state)
{
    kp_options o = failover_plan(1, NULL);

    (void)state;
    hurried = 0;
    o.driver.validate = never_answers;
    o.driver.cancel = hurry;
    o.limits.validate_on = KP_CHECK_KEEPER;
    o.limits.validate_timeout_ms = 500;
    o.limits.renew_ahead_ms = 800;
    until_one_is_tested(&o, true);
    HOUSE_IS(h, kp_rotate(h->pool, kp_str("db"), 1000), 1);
    house_pass(h, 499);
    HOUSE_IS(h, hurried, 0);
    house_pass(h, 1); /* its time is over all the same */
    HOUSE_IS(h, hurried, 1);
    house_close(h);
}

/* ---- who has it by now ----------------------------------------------------------------------- */

static kp_gate gate;
static bool armed, empty;

/* As if others were faster; or no memory. */
static void *alloc_at_the_gate(size_t size, size_t align, void *ctx)
{
    bool waits = armed;

    armed = false;
    if (empty) return NULL;
    if (waits) kp_gate_pass(h->sim, &gate);
    return kp_sim_world(h->sim)->alloc(size, align, ctx);
}

enum { MANY = 65, AFTER = 5000 };

/* There is memory for 64 that are under way at once, and one more is lent. */
static void lend_many(kp_lease lease[MANY], int64_t after_ms)
{
    static kp_world world;
    static const kp_script script = { .revoke = slow_answers };
    kp_options o = failover_plan(MANY, &script);

    gate = (kp_gate){ 0 };
    world = *o.world;
    world.alloc = alloc_at_the_gate;
    o.world = &world;
    o.limits.revoke_after_ms = after_ms;
    house_open(h, &o);
    for (int i = 0; i < MANY; i++) {
        if (i > 0) house_pass(h, 1);
        lease[i] = house_get(h, "db");
    }
}

/* The last one is due, and waits for memory. */
static void until_one_waits_for_memory(kp_lease lease[MANY])
{
    lend_many(lease, AFTER);
    house_pass(h, AFTER - 1);
    HOUSE_IS(h, house_cast(h).revokes, MANY - 1);
    armed = true;
    house_pass(h, 1);
    HOUSE_IS(h, gate.entered, 1);
}

static void a_lease_that_has_just_begun_must_not_be_revoked(void **state)
{
    kp_lease lease[MANY], *last = &lease[MANY - 1];
    kp_lease_about about;

    (void)state;
    until_one_waits_for_memory(lease);
    house_release(h, last);
    *last = house_get(h, "db");
    kp_gate_open(h->sim, &gate);
    house_pass(h, AFTER - 1);
    HOUSE_IS(h, house_cast(h).revokes, MANY - 1);
    HOUSE_HAS(h, kp_lease_read(last, &about) && !about.revoked && !about.doomed);
    house_pass(h, 1); /* now it is due */
    HOUSE_IS(h, house_cast(h).revokes, MANY);
    for (int i = 0; i < MANY; i++) house_release(h, &lease[i]);
    house_pass(h, 1000);
    house_close(h);
}

static void what_came_back_meanwhile_must_not_be_revoked(void **state)
{
    kp_lease lease[MANY];

    (void)state;
    until_one_waits_for_memory(lease);
    house_release(h, &lease[MANY - 1]);
    kp_gate_open(h->sim, &gate);
    house_pass(h, 1000);
    HOUSE_IS(h, house_cast(h).revokes, MANY - 1);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    for (int i = 0; i < MANY - 1; i++) house_release(h, &lease[i]);
    house_close(h);
}

static void what_there_is_no_memory_to_revoke_must_stay_lent(void **state)
{
    kp_lease lease[MANY];

    (void)state;
    lend_many(lease, KP_OFF);
    empty = true;
    HOUSE_IS(h, kp_pool_close(h->pool, KP_CLOSE_WAIT, KP_NONE), MANY);
    empty = false;
    house_pass(h, 1000);
    HOUSE_IS(h, house_cast(h).revokes, MANY - 1);
    for (int i = 0; i < MANY; i++) kp_release(&lease[i]);
    HOUSE_IS(h, house_cast(h).destroys, MANY);
    h->ended = true;
    house_close(h);
}

static int found;

static void look_for_its_lease(struct house *house, const kp_event *event)
{
    kp_lease lease;

    if (event->kind == KP_EVENT_CREATED)
        found = kp_lease_of(house->pool, event->resource, &lease);
}

/* Otherwise the thread that finds it could end it and get it again: two would have one lease. */
static void the_lease_of_what_is_being_made_must_be_found_by_nobody(void **state)
{
    kp_options o = failover_plan(1, NULL);
    kp_lease same;

    (void)state;
    house_open(h, &o);
    h->also = look_for_its_lease;
    found = 0;
    kp_lease lease = house_get(h, "db");
    HOUSE_IS(h, h->seen[KP_EVENT_CREATED], 1);
    HOUSE_IS(h, found, KP_ENOTFOUND);
    HOUSE_IS(h, kp_lease_of(h->pool, lease.resource, &same), 0);
    HOUSE_HAS(h, !memcmp(same.opaque, lease.opaque, sizeof same.opaque));
    house_release(h, &lease);
    house_close(h);
}

static void the_lease_of_who_has_not_woken_must_be_found_by_nobody(void **state)
{
    struct visitor v = { .stay_ms = 0 };
    kp_options o = failover_plan(1, NULL);
    kp_lease same;

    (void)state;
    house_open(h, &o);
    kp_lease lease = house_get(h, "db");
    const void *resource = lease.resource;
    visitor_send(h, &v, "db", 1000);
    house_release(h, &lease); /* it is the visitor's, which has not run so far */
    HOUSE_IS(h, house_stats(h, "db").lent, 1);
    HOUSE_HAS(h, !v.answered);
    HOUSE_IS(h, kp_lease_of(h->pool, resource, &same), KP_ENOTFOUND);
    HOUSE_HAS(h, same.resource == NULL);
    visitor_end(&v);
    HOUSE_IS(h, kp_lease_of(h->pool, resource, &same), 0);
    house_release(h, &v.lease);
    house_close(h);
}

/* ---- what a report turns --------------------------------------------------------------------- */

static kp_options circuit_plan(void)
{
    kp_options o = failover_plan(2, NULL);

    o.limits.breaker_failures = 1;
    o.limits.breaker_counts = KP_BREAK_USE;
    o.limits.breaker_open_ms = 1000;
    return o;
}

static kp_lease reported, other, gone;
static kp_event_kind turn;

/* The place of what is reported is another key's from now on. */
static void pass_the_place_on(struct house *house, const kp_event *event)
{
    kp_lease copy = reported;

    if (event->kind != turn) return;
    house->also = NULL;
    kp_discard(&copy);
    if (kp_get(house->pool, kp_str("db"), NULL, &other)) fail_msg("no lease of the other key");
    if (turn == KP_EVENT_BREAKER_CLOSED) kp_lease_report(&gone, KP_EGONE); /* `other` is in doubt */
}

static void say(int status, kp_event_kind says)
{
    turn = says;
    h->also = pass_the_place_on;
    HOUSE_IS(h, kp_get(h->pool, kp_str("reported"), NULL, &reported), 0);
    kp_lease_report(&reported, status);
    HOUSE_IS(h, house_cast(h).destroys, 1);
    HOUSE_IS(h, house_stats(h, "reported").live, 0);
    HOUSE_IS(h, house_stats(h, NULL).misuses, 0);
}

static void who_has_the_place_after_a_report_of_a_gone_peer_must_keep_it(void **state)
{
    kp_options o = circuit_plan();
    kp_lease_about about;

    (void)state;
    house_open(h, &o);
    say(KP_EGONE, KP_EVENT_BREAKER_OPENED);
    HOUSE_HAS(h, kp_lease_read(&other, &about) && !about.doomed);
    kp_release(&other);
    HOUSE_IS(h, house_stats(h, "db").idle, 1);
    house_close(h);
}

static void who_has_the_place_after_a_report_of_a_good_use_must_stay_in_doubt(void **state)
{
    kp_options o = circuit_plan();

    (void)state;
    house_open(h, &o);
    HOUSE_IS(h, kp_get(h->pool, kp_str("db"), NULL, &gone), 0);
    kp_lease first = house_get(h, "reported");
    kp_lease_report(&first, -1);
    house_release(h, &first);
    house_pass(h, 1000); /* the next one is a probe */
    say(0, KP_EVENT_BREAKER_CLOSED);
    HOUSE_HAS(h, failover_is_suspect());
    kp_release(&other);
    kp_release(&gone);
    house_close(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_tested_when_its_age_ends_must_go_after_the_test),
        cmocka_unit_test(a_look_for_its_age_must_not_hurry_a_test),
        cmocka_unit_test(a_lease_that_has_just_begun_must_not_be_revoked),
        cmocka_unit_test(what_came_back_meanwhile_must_not_be_revoked),
        cmocka_unit_test(what_there_is_no_memory_to_revoke_must_stay_lent),
        cmocka_unit_test(the_lease_of_what_is_being_made_must_be_found_by_nobody),
        cmocka_unit_test(the_lease_of_who_has_not_woken_must_be_found_by_nobody),
        cmocka_unit_test(who_has_the_place_after_a_report_of_a_gone_peer_must_keep_it),
        cmocka_unit_test(who_has_the_place_after_a_report_of_a_good_use_must_stay_in_doubt),
    };
    return cmocka_run_group_tests_name("a hostile reading", tests, NULL, NULL);
}
