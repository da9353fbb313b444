/* SPDX-License-Identifier: MIT
 *
 * The hard cases H2 to H7 as races on real threads: a deadline, a close and a failing create race
 * with requests that come at that moment. The same cases, step by step on a virtual clock, are in
 * tests/contract/hard*.c; rounds.h has how a round is run and what is checked after it.
 */
#include "rounds.h"

static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };

/* ---- H2: a deadline meets its hand-off ------------------------------------------------------- */

static struct h2 {
    kp_lease held;
    kp_deadline until;
    int64_t off_ns; /* how long after the deadline the release comes: about when it is noticed */
    bool queue;     /* a third thread waits behind */
    atomic_bool asked;
} h2;

static void h2_waits(struct rounds *r)
{
    kp_ask ask = { .until = h2.until, .tag = "B" };
    kp_lease lease;
    int rc;

    atomic_store(&h2.asked, true);
    rc = rounds_ask(r, "a", &ask, &lease);
    ROUNDS_EXPECT(r, rc == 0 || rc == KP_ETIMEDOUT, "%d", rc);
    if (rc) ROUNDS_EXPECT(r, rounds_ns() >= h2.until.ns, "%s", "too early");
    if (rc == 0) rounds_release(r, &lease);
    atomic_fetch_add(&r->tally[rc != 0], 1);
}

static void h2_play(struct rounds *r, unsigned who)
{
    switch (who) {
    case 0: h2_waits(r); break;
    case 1:
        rounds_spin_until((uint64_t)((int64_t)h2.until.ns + h2.off_ns));
        rounds_release(r, &h2.held);
        break;
    default:
        ROUNDS_AWAIT(atomic_load(&h2.asked));
        if (h2.queue) (void)rounds_visit(r, "a", false);
    }
}

static void H2_a_release_at_the_deadline_loses_nothing(void **state)
{
    static const char *const tallies[] = { "served", "timed out", NULL };
    struct rounds *r = rounds_open("H2", 3, h2_play, tallies);

    (void)state;
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        int64_t wide = r->round % 3 ? 20000 : 200000;
        (void)rounds_get(r, "a", &h2.held);
        h2.until.ns = kp_now_ns(r->pool) + 100000 + rounds_roll(100000);
        h2.off_ns = (int64_t)rounds_roll((uint64_t)wide * 2) - wide + 50000;
        h2.queue = rounds_roll(2);
        atomic_store(&h2.asked, false);
        rounds_race(r);
        rounds_has(r, "a", 1);
        ROUNDS_EXPECT(r, atomic_load(&r->creates) == 1, "%s", "it was lost");
    }
    rounds_end(r);
}

/* ---- H3: close with waiters and borrowers present -------------------------------------------- */

static struct h3 {
    kp_close_mode mode;
    kp_lease held[2][2];
    bool queued; /* all gets wait before the race begins; else everything begins at once */
} h3;

static void h3_waits(struct rounds *r, unsigned who)
{
    const char *key = who % 2 ? "a" : "b";
    kp_ask ask = { .within_ms = who < 2 ? KP_OFF : ROUNDS_LONG_MS };
    kp_lease lease;
    int rc = rounds_ask(r, key, &ask, &lease);

    ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED, "%d", rc);
    if (h3.queued && h3.mode == KP_CLOSE_DRAIN) ROUNDS_EXPECT(r, rc == 0, "%d", rc);
    if (rc == 0) rounds_release(r, &lease);
    atomic_fetch_add(&r->tally[rc != 0], 1);
}

static void h3_play(struct rounds *r, unsigned who)
{
    int64_t out;

    if (who < 4) {
        h3_waits(r, who);
        return;
    }
    if (h3.queued) ROUNDS_AWAIT(rounds_queued(r, 4));
    if (who < 6) {
        for (int i = 0; i < 2; i++) rounds_release(r, &h3.held[who - 4][i]);
        return;
    }
    out = kp_pool_close(r->pool, h3.mode, ROUNDS_LONG_MS);
    ROUNDS_EXPECT(r, h3.mode == KP_CLOSE_NOW ? out >= 0 && out <= 4 : out == 0, "%lld out",
                  (long long)out);
}

static void H3_a_close_among_waiters_and_borrowers_answers_all_and_leaves_nothing(void **state)
{
    static const char *const tallies[] = { "served", "closed", NULL };
    struct rounds *r = rounds_open("H3", 7, h3_play, tallies);

    (void)state;
    r->options.limits.max_live = 2;
    while (rounds_next(r)) {
        rounds_pool(r);
        h3.mode = modes[r->round % 3];
        h3.queued = rounds_roll(2);
        for (int i = 0; i < 4; i++) (void)rounds_get(r, i % 2 ? "a" : "b", &h3.held[i / 2][i % 2]);
        rounds_race(r);
        rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H4: get racing close -------------------------------------------------------------------- */

static atomic_bool h4_closed;

static void h4_play(struct rounds *r, unsigned who)
{
    if (who == 0) {
        int64_t out;
        rounds_pause(20000);
        out = kp_pool_close(r->pool, modes[r->round % 3], ROUNDS_LONG_MS);
        atomic_store(&h4_closed, true);
        ROUNDS_EXPECT(r, r->round % 3 == 0 ? out >= 0 && out <= 3 : out == 0, "%lld out",
                      (long long)out);
        return;
    }
    for (;;) {
        bool closed = atomic_load(&h4_closed);
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS };
        kp_lease lease;
        int rc = rounds_ask(r, who % 2 ? "a" : "b", &ask, &lease);
        ROUNDS_EXPECT(r, rc == KP_ECLOSED || (rc == 0 && !closed), "%d, closed %d", rc, closed);
        atomic_fetch_add(&r->tally[rc != 0], 1);
        if (rc) return;
        if (rounds_roll(3)) rounds_release(r, &lease);
        else rounds_discard(r, &lease);
    }
}

static void H4_each_get_that_meets_a_close_ends_and_none_succeeds_after_it(void **state)
{
    static const char *const tallies[] = { "served", "closed", NULL };
    struct rounds *r = rounds_open("H4", 8, h4_play, tallies);

    (void)state;
    r->options.limits.max_live = 2;
    r->options.budget.max_live = 3;
    while (rounds_next(r)) {
        rounds_pool(r);
        atomic_store(&h4_closed, false);
        rounds_race(r);
        rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H5: release, close and a waiter of another key ------------------------------------------ */

static struct h5 { kp_lease held; } h5;

static void h5_play(struct rounds *r, unsigned who)
{
    kp_ask ask = { .within_ms = KP_OFF };
    kp_lease lease;
    int rc;

    switch (who) {
    case 0:
        rc = rounds_ask(r, "b", &ask, &lease);
        ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED, "%d", rc);
        if (rc == 0) rounds_release(r, &lease);
        atomic_fetch_add(&r->tally[rc != 0], 1);
        break;
    case 1:
        if (r->round % 2) ROUNDS_AWAIT(rounds_queued(r, 1));
        rounds_release(r, &h5.held);
        break;
    default:
        if (r->round % 2) ROUNDS_AWAIT(rounds_queued(r, 1));
        (void)kp_pool_close(r->pool, modes[r->round / 2 % 3], ROUNDS_LONG_MS);
    }
}

static void H5_a_release_a_close_and_a_waiter_of_another_key_leak_nothing(void **state)
{
    static const char *const tallies[] = { "served", "closed", NULL };
    struct rounds *r = rounds_open("H5", 3, h5_play, tallies);

    (void)state;
    r->options.budget.max_live = 1;
    while (rounds_next(r)) {
        rounds_pool(r);
        (void)rounds_get(r, "a", &h5.held);
        rounds_race(r);
        rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H6: a create in flight when closing ----------------------------------------------------- */

static struct h6 {
    bool pending; /* the create is answered by the third thread; else by itself, after a pause */
    bool fails;
    _Atomic(kp_job *) job;
    atomic_bool entered, ended;
} h6;

static int h6_create(struct rounds *r, kp_job *job)
{
    (void)r;
    if (h6.pending) {
        atomic_store(&h6.job, job);
        atomic_store(&h6.entered, true);
        return KP_PENDING;
    }
    atomic_store(&h6.entered, true);
    rounds_pause(3000);
    return h6.fails ? -11 : 0;
}

static void h6_answer(struct rounds *r)
{
    kp_job *job;

    ROUNDS_AWAIT((job = atomic_load(&h6.job)) || atomic_load(&h6.ended));
    if (!job && !(job = atomic_load(&h6.job))) return;
    rounds_pause(2000);
    if (h6.fails) {
        rounds_unmade(r, 'a');
        kp_job_done(job, -11, NULL);
    } else {
        kp_job_done(job, 0, rounds_make(r, 'a'));
    }
}

static void h6_play(struct rounds *r, unsigned who)
{
    kp_ask ask = { .within_ms = ROUNDS_LONG_MS };
    kp_lease lease;
    int64_t out;
    int rc;

    switch (who) {
    case 0:
        rc = rounds_ask(r, "a", &ask, &lease);
        ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED || (h6.fails && rc == KP_ECREATE), "%d", rc);
        if (rc == 0) rounds_release(r, &lease);
        atomic_fetch_add(&r->tally[rc == 0 ? 0 : rc == KP_ECLOSED ? 1 : 2], 1);
        atomic_store(&h6.ended, true);
        break;
    case 1:
        if (r->round % 4) ROUNDS_AWAIT(atomic_load(&h6.entered));
        out = kp_pool_close(r->pool, modes[r->round % 3], r->round % 3 ? ROUNDS_LONG_MS : KP_NONE);
        ROUNDS_EXPECT(r, out == 0 || (out == 1 && r->round % 3 == 0), "%lld out", (long long)out);
        break;
    default:
        if (h6.pending) h6_answer(r);
    }
}

static void H6_what_a_create_makes_while_the_pool_closes_is_destroyed_once(void **state)
{
    static const char *const tallies[] = { "served", "closed", "failed", NULL };
    struct rounds *r = rounds_open("H6", 3, h6_play, tallies);

    (void)state;
    r->in_create = h6_create;
    while (rounds_next(r)) {
        rounds_pool(r);
        h6.pending = rounds_roll(2);
        h6.fails = rounds_roll(4) == 0;
        atomic_store(&h6.job, NULL);
        atomic_store(&h6.entered, false);
        atomic_store(&h6.ended, false);
        rounds_race(r);
        rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H7: failing creates with several waiters ------------------------------------------------ */

static struct h7 {
    atomic_uint to_fail, failed, served;
    bool broken_return; /* instead of a failing create: one that is lent, and its destroy fails */
    kp_lease held;
} h7;

static int h7_create(struct rounds *r, kp_job *job)
{
    unsigned left = atomic_load(&h7.to_fail);

    (void)r;
    rounds_pause(2000);
    while (left && !atomic_compare_exchange_weak(&h7.to_fail, &left, left - 1)) continue;
    return left ? kp_job_fail(job, (int)left, "this one fails") : 0;
}

static int h7_destroy(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    (void)r;
    (void)job;
    (void)item;
    return h7.broken_return ? -5 : 0;
}

static void h7_play(struct rounds *r, unsigned who)
{
    kp_why why;
    kp_ask ask = { .within_ms = KP_OFF, .why = &why };
    kp_lease lease;
    int rc;

    if (who == 0 && h7.broken_return) {
        rounds_discard(r, &h7.held);
        return;
    }
    rc = rounds_ask(r, "a", &ask, &lease);
    ROUNDS_EXPECT(r, rc == 0 || (rc == KP_ECREATE && why.vendor_code > 0), "%d", rc);
    atomic_fetch_add(rc ? &h7.failed : &h7.served, 1);
    if (rc) return;
    rounds_pause(500);
    rounds_release(r, &lease);
}

static void H7_each_failing_create_is_told_to_one_and_all_others_are_served(void **state)
{
    static const char *const tallies[] = { "served", "failed", NULL };
    struct rounds *r = rounds_open("H7", 4, h7_play, tallies);

    (void)state;
    r->in_create = h7_create;
    r->in_destroy = h7_destroy;
    while (rounds_next(r)) {
        unsigned fail = (unsigned)rounds_roll(4);
        r->options.limits.max_live = 1 + r->round % 2;
        rounds_pool(r);
        h7.broken_return = rounds_roll(3) == 0;
        atomic_store(&h7.to_fail, 0);
        if (h7.broken_return) (void)rounds_get(r, "a", &h7.held);
        else atomic_store(&h7.to_fail, fail);
        atomic_store(&h7.failed, 0);
        atomic_store(&h7.served, 0);
        rounds_race(r);
        if (h7.broken_return) fail = 0;
        ROUNDS_EXPECT(r, atomic_load(&h7.failed) == fail, "%u failed", atomic_load(&h7.failed));
        ROUNDS_EXPECT(r, atomic_load(&h7.served) == (h7.broken_return ? 3 : 4) - fail, "%u served",
                      atomic_load(&h7.served));
        atomic_fetch_add(&r->tally[0], atomic_load(&h7.served));
        atomic_fetch_add(&r->tally[1], fail);
        rounds_has(r, "a", 1);
        rounds_close(r);
    }
    rounds_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H2_a_release_at_the_deadline_loses_nothing),
        cmocka_unit_test(H3_a_close_among_waiters_and_borrowers_answers_all_and_leaves_nothing),
        cmocka_unit_test(H4_each_get_that_meets_a_close_ends_and_none_succeeds_after_it),
        cmocka_unit_test(H5_a_release_a_close_and_a_waiter_of_another_key_leak_nothing),
        cmocka_unit_test(H6_what_a_create_makes_while_the_pool_closes_is_destroyed_once),
        cmocka_unit_test(H7_each_failing_create_is_told_to_one_and_all_others_are_served),
    };
    return cmocka_run_group_tests_name("hard cases H2 to H7, on real threads", tests, NULL, NULL);
}
