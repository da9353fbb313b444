/* SPDX-License-Identifier: MIT
 *
 * Tests of src/flow/get.c, wait.c, create.c, check.c, job.c, keeper.c and release.c: answers
 * that come late or not at all, times that run out, and leases that are read in every state.
 */
#include "flow/door.h"
#include "flow_stage.h"

#include <string.h>

/* ---- creations that are answered later ------------------------------------------------------- */

static void a_pending_creation_must_end_at_its_timeout_and_be_hurried(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    for (int told = 0; told < 2; told++) {
        stage_set(&s);
        s.options.limits.create_timeout_ms = 20;
        s.options.driver.cancel = stage_cancel;
        stage_open(&s);
        s.create = KP_PENDING;
        uint64_t before = s.now;
        int code = kp_get(s.pool, kp_str("a"), KP_ASK(.why = told ? &s.why : NULL), &lease);
        assert_int_equal(code, KP_ECREATE);
        assert_int_equal(s.now - before, 20000000);
        assert_int_equal(s.cancelled, 1);
        if (told) {
            assert_non_null(strstr(s.why.text, "create_timeout_ms"));
            assert_string_equal(s.why.limit, "create_timeout_ms");
        }
        kp_job_done(s.job, -1, NULL);
        s.create = 0;
        stage_fall(&s);
    }
}

static void with_retries_a_creations_timeout_must_not_end_the_get(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.limits.create_timeout_ms = 20;
    s.options.limits.on_create_failure = KP_FAIL_RETRY;
    stage_open(&s);
    s.create = KP_PENDING;
    uint64_t before = s.now;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 50), &lease), KP_ETIMEDOUT);
    assert_int_equal(s.now - before, 50000000);
    assert_true(s.pending > 1); /* it began another meanwhile */
    for (int i = 0; i < s.pending; i++) kp_job_done(s.jobs[i], -1, NULL);
    stage_fall(&s);
}

static void answer_job(struct stage *s)
{
    kp_job_done(s->job, 0, &s->resources[s->made++]);
}

static void a_pending_creation_must_serve_whoever_waits_for_it(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_raise(&s);
    s.create = KP_PENDING;
    s.meanwhile = answer_job;
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    s.create = 0;
    stage_fall(&s);
}

static void a_creation_without_a_resource_must_be_a_failure(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_raise(&s);
    s.create = KP_PENDING;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 5), &lease), KP_ETIMEDOUT);
    kp_job_done(s.job, 0, NULL);
    assert_int_equal(stage_heard(&s, KP_EVENT_CREATE_FAILED), 1);
    kp_job_done(s.job, 0, NULL); /* answered twice */
    assert_int_equal(stage_heard(&s, KP_EVENT_CREATE_FAILED), 1);
    s.create = 0;
    stage_fall(&s);
}

/* Many libraries answer 1 where something went well, or did not. */
static void a_function_that_returns_one_must_have_answered(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.driver.validate = stage_validate;
    s.options.driver.reset = stage_reset;
    s.options.limits.validate_after_ms = KP_NONE;
    s.options.limits.retry_first_ms = KP_NONE;
    stage_open(&s);
    uint64_t before = s.now;
    s.create = 1;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.why = &s.why), &lease), KP_ECREATE);
    assert_int_equal(s.why.vendor_code, 1);
    assert_int_equal(s.now, before);
    s.create = 0;
    s.validate = s.reset = s.destroy = 1;
    for (int i = 0; i < 2; i++) {
        lease = stage_get(&s, "a");
        kp_release(&lease);
    }
    assert_int_equal(s.destroyed, 0);
    stage_fall(&s);
    assert_int_equal(s.destroyed, 1);
}

/* ---- keepers that are late ------------------------------------------------------------------- */

static void a_late_keeper_must_be_told_once(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    stage_open(&s);
    lease = stage_get(&s, "a");
    kp_release(&lease);
    for (int i = 0; i < 3; i++) {
        s.now += UINT64_C(3600) * 1000000000;
        lease = stage_get(&s, "b");
        kp_lease none;
        assert_int_equal(kp_get(s.pool, kp_str("b"), KP_ASK(.within_ms = 1), &none),
                         KP_ETIMEDOUT);
        kp_release(&lease);
    }
    assert_int_equal(stage_heard(&s, KP_EVENT_KEEPER_LATE), 1);
    (void)kp_keep(s.pool);
    stage_fall(&s);
}

static void a_keeper_that_comes_seldom_must_be_late_only_after_that(void **state)
{
    enum { EVERY_S = 7200, LATE_S = 10 };
    static const int64_t after_s[] = { EVERY_S / 2, EVERY_S + LATE_S - 1, EVERY_S + LATE_S + 1 };
    struct stage s;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 2;
    s.options.keep_every_ms = KP_SECONDS(EVERY_S);
    stage_open(&s);
    uint64_t opened = s.now;
    kp_lease lease = stage_get(&s, "a");
    kp_release(&lease); /* to be looked at long before */
    for (int i = 0; i < 3; i++) {
        s.now = opened + (uint64_t)after_s[i] * 1000000000;
        lease = stage_get(&s, "b");
        kp_discard(&lease);
        assert_int_equal(stage_heard(&s, KP_EVENT_KEEPER_LATE), i == 2);
    }
    stage_fall(&s);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void what_is_no_lease_must_be_told_and_nothing_be_done(void **state)
{
    struct stage s;
    kp_lease_about about;

    (void)state;
    stage_raise(&s);
    kp_release(NULL);
    for (int i = 0; i < 3; i++) {
        kp_lease nothing = { .opaque = { 0 } };
        nothing.opaque[i] = 1;
        assert_false(kp_lease_read(&nothing, &about));
        kp_lease_reuse(&nothing, true);
        kp_lease_report(&nothing, 0);
        kp_release(&nothing);
        assert_null(nothing.resource);
    }
    kp_lease none = { 0 };
    kp_lease_reuse(&none, true);
    kp_lease_report(&none, 0);
    kp_release(&none);
    assert_false(kp_lease_read(&none, &about));
    kp_lease lease = stage_get(&s, "a"), wrong = lease;
    wrong.opaque[0] += 40; /* a slot that never was */
    assert_false(kp_lease_read(&wrong, &about));
    wrong = lease;
    wrong.opaque[2]++; /* a seat it has not */
    assert_false(kp_lease_read(&wrong, &about));
    wrong = lease;
    wrong.opaque[1]++; /* a lease to come */
    assert_false(kp_lease_read(&wrong, &about));
    assert_true(kp_lease_read(&lease, &about));
    assert_false(about.doomed);
    kp_lease_reuse(&lease, false);
    assert_true(kp_lease_read(&lease, &about));
    assert_true(about.doomed);
    kp_lease_reuse(&lease, true);
    assert_true(kp_lease_read(&lease, &about));
    assert_false(about.doomed);
    kp_release(&lease);
    stage_fall(&s);
    assert_false(kp_lease_read(&lease, &about));
}

static void what_a_lease_says_must_be_true_where_its_resource_is_used_up_or_the_pool_closed(
    void **state)
{
    struct stage s;
    kp_lease_about about;

    (void)state;
    stage_set(&s);
    s.options.limits.max_uses = 2;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_true(kp_lease_read(&lease, &about) && !about.doomed);
    kp_release(&lease);
    lease = stage_get(&s, "a"); /* for the last time */
    assert_true(kp_lease_read(&lease, &about) && about.doomed);
    kp_release(&lease);
    assert_int_equal(s.destroyed, 1);
    lease = stage_get(&s, "a");
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_NOW, KP_NONE), 1);
    assert_true(kp_lease_read(&lease, &about) && about.doomed);
    kp_release(&lease);
    assert_int_equal(s.destroyed, 2);
}

static void the_lease_of_a_shared_resource_must_not_be_guessed(void **state)
{
    struct stage s;
    kp_lease guess;

    (void)state;
    stage_set(&s);
    s.options.limits.sharing = 2;
    stage_open(&s);
    kp_lease lease = stage_get(&s, "a");
    assert_int_equal(kp_lease_of(s.pool, lease.resource, &guess), KP_EMISUSE);
    assert_int_equal(kp_lease_of(NULL, lease.resource, &guess), KP_EMISUSE);
    void *resource = lease.resource;
    kp_release(&lease);
    assert_int_equal(kp_lease_of(s.pool, resource, &guess), KP_ENOTFOUND);
    assert_int_equal(kp_lease_of(s.pool, &s, &guess), KP_ENOTFOUND);
    stage_fall(&s);
}

/* Where nothing needs the clock, a release that no request waits for does not read it. */
static int looks;

static uint64_t counted_now(void *ctx)
{
    looks++;
    return stage_now(ctx);
}

static void a_release_must_read_the_clock_only_where_it_is_needed(void **state)
{
    struct stage s;

    (void)state;
    for (int kept = 0; kept < 2; kept++) {
        stage_set(&s);
        s.world.now_ns = counted_now;
        s.options.leak_after_ms = KP_OFF;
        s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
        stage_open(&s);
        kp_lease lease = stage_get(&s, "a");
        kp_release(&lease);
        lease = stage_get(&s, "a");
        looks = 0;
        if (kept) kp_release(&lease);
        else kp_discard(&lease);
        assert_int_equal(looks > 0, !kept);
        stage_fall(&s);
    }
}

static kp_lease waited_for;

static void give_it_back(struct stage *s)
{
    (void)s;
    kp_release(&waited_for);
}

static void a_release_must_serve_who_waits_even_without_a_clock(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.leak_after_ms = KP_OFF;
    s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
    s.options.limits.max_live = 1;
    stage_open(&s);
    waited_for = stage_get(&s, "a");
    kp_release(&waited_for);
    waited_for = stage_get(&s, "a");
    s.meanwhile = give_it_back;
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- hits without a clock -------------------------------------------------------------------- */

static void a_hit_must_be_bare_only_where_nothing_stands_in_its_way(void **state)
{
    struct stage s;
    kp_lease lease, other;

    (void)state;
    stage_set(&s);
    s.options.leak_after_ms = KP_OFF;
    s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
    s.options.limits.breaker_failures = 1;
    stage_open(&s);
    lease = stage_get(&s, "a");
    other = stage_get(&s, "a");
    kp_release(&lease);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_DONT_WAIT), &lease), 0);
    kp_release(&lease);
    s.create = -1; /* trips the circuit; what is idle is lent all the same */
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.flags = KP_FRESH), &lease), KP_ECREATE);
    assert_int_equal(kp_get(s.pool, kp_str("a"), NULL, &lease), 0);
    kp_release(&lease);
    kp_release(&other);
    s.create = 0;
    stage_fall(&s);
}

/* ---- what a share is measured by ------------------------------------------------------------- */

static void look_since_when_somebody_is_starved(struct stage *s)
{
    int code;
    struct kp__todo todo;
    struct kp__pool *pool = kp__enter(s->pool, &todo, &code);

    assert_non_null(pool);
    assert_int_equal(pool->core.starved, 1);
    assert_int_equal(pool->core.contended, s->now);
    kp__leave(pool, &todo);
}

/* A get that finds an idle one does not read the clock if no rule needs it. But if there is no
 * permit to lend it, the key is starved from now on, not since the clock was last read. */
static void who_lacks_a_permit_beside_an_idle_one_must_be_starved_from_now_on(void **state)
{
    struct stage s;
    kp_lease lease[2], none;

    (void)state;
    stage_set(&s);
    s.options.limits.idle_ttl_ms = s.options.limits.max_age_ms = KP_OFF;
    s.options.leak_after_ms = KP_OFF;
    s.options.budget.max_lent = 1;
    stage_open(&s);
    lease[0] = stage_get(&s, "a");
    kp_release(&lease[0]);
    lease[1] = stage_get(&s, "b");
    s.now += 5000000000;
    s.meanwhile = look_since_when_somebody_is_starved;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_ASK(.within_ms = 10), &none), KP_ETIMEDOUT);
    kp_release(&lease[1]);
    stage_fall(&s);
}

/* A limit on waiting requests is none of its concern. */
static void who_does_not_wait_must_be_told_so_where_nobody_may(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    for (int of_all = 0; of_all < 2; of_all++) {
        stage_set(&s);
        s.options.limits.max_live = 1;
        if (of_all) s.options.budget.max_waiting = KP_NONE;
        else s.options.limits.max_waiting = KP_NONE;
        stage_open(&s);
        kp_lease lease = stage_get(&s, "a");
        const kp_ask at_once = { .within_ms = KP_NONE, .why = &s.why };
        assert_int_equal(kp_get(s.pool, kp_str("a"), &at_once, &none), KP_EAGAIN);
        assert_string_equal(s.why.limit, "max_live");
        assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_S(1), &none), KP_EFULL);
        kp_release(&lease);
        stage_fall(&s);
    }
}

/* ---- time that passes in on_event ------------------------------------------------------------ */

static int64_t left_ms;

static int note_left(kp_job *job, void **resource)
{
    left_ms = job->left_ms;
    return stage_create(job, resource);
}

static void hear_slowly(const kp_event *event, void *ctx)
{
    if (event->kind == KP_EVENT_BREAKER_PROBING) ((struct stage *)ctx)->now += 30000000;
}

/* L4: what on_event took before the probe began is gone. */
static void a_probe_must_be_told_the_time_that_is_left(void **state)
{
    struct stage s;
    kp_lease lease;

    (void)state;
    stage_set(&s);
    s.options.driver.create = note_left;
    s.options.on_event = hear_slowly;
    s.options.limits.breaker_failures = 1;
    s.options.limits.breaker_open_ms = 100;
    s.options.limits.retry_first_ms = KP_NONE;
    stage_open(&s);
    s.create = -1;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(100), &lease), KP_ECREATE);
    assert_int_equal(left_ms, 100);
    s.create = 0;
    s.now += 100000000;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(100), &lease), 0);
    assert_int_equal(left_ms, 70);
    kp_release(&lease);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pending_creation_must_end_at_its_timeout_and_be_hurried),
        cmocka_unit_test(with_retries_a_creations_timeout_must_not_end_the_get),
        cmocka_unit_test(a_pending_creation_must_serve_whoever_waits_for_it),
        cmocka_unit_test(a_creation_without_a_resource_must_be_a_failure),
        cmocka_unit_test(a_function_that_returns_one_must_have_answered),
        cmocka_unit_test(a_late_keeper_must_be_told_once),
        cmocka_unit_test(a_keeper_that_comes_seldom_must_be_late_only_after_that),
        cmocka_unit_test(what_is_no_lease_must_be_told_and_nothing_be_done),
        cmocka_unit_test(
            what_a_lease_says_must_be_true_where_its_resource_is_used_up_or_the_pool_closed),
        cmocka_unit_test(the_lease_of_a_shared_resource_must_not_be_guessed),
        cmocka_unit_test(a_release_must_read_the_clock_only_where_it_is_needed),
        cmocka_unit_test(a_release_must_serve_who_waits_even_without_a_clock),
        cmocka_unit_test(a_hit_must_be_bare_only_where_nothing_stands_in_its_way),
        cmocka_unit_test(who_lacks_a_permit_beside_an_idle_one_must_be_starved_from_now_on),
        cmocka_unit_test(who_does_not_wait_must_be_told_so_where_nobody_may),
        cmocka_unit_test(a_probe_must_be_told_the_time_that_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
