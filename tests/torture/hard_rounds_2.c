/* SPDX-License-Identifier: MIT
 *
 * The hard cases H8 to H12 as races on real threads: a create that answers late, the keeper, and
 * two threads that end the same lease. See rounds.h; step by step they are in
 * tests/contract/hard*.c.
 */
#include "rounds.h"

/* ---- a clock that can be put forward --------------------------------------------------------- */

/* Only for cases in which nobody waits for a deadline: it does not shorten real sleeps. */
static atomic_ullong forward_ns;

enum { TTL_MS = 10000 }; /* longer than a busy machine takes for a round */
#define TTL_NS (TTL_MS * UINT64_C(1000000))

static uint64_t forward_now(void *ctx)
{
    (void)ctx;
    return rounds_ns() + atomic_load(&forward_ns);
}

/* ---- H8: a create that hangs ----------------------------------------------------------------- */

static struct h8 {
    kp_lease held;
    kp_deadline until; /* of the get whose create hangs; {0}: a long one */
    bool fails;
    _Atomic(kp_job *) job;
    atomic_bool ended;
} h8;

static int h8_create(struct rounds *r, kp_job *job)
{
    (void)r;
    if (!job->tag || strcmp(job->tag, "hangs") != 0) return 0;
    atomic_store(&h8.job, job);
    return KP_PENDING;
}

static void h8_hangs(struct rounds *r)
{
    kp_ask ask = { .within_ms = h8.until.ns ? 0 : ROUNDS_LONG_MS, .until = h8.until,
                   .tag = "hangs" };
    kp_lease lease;
    int rc = rounds_ask(r, "a", &ask, &lease);

    ROUNDS_EXPECT(r, rc == 0 || (h8.until.ns && rc == KP_ETIMEDOUT) ||
                     (h8.fails && rc == KP_ECREATE), "%d", rc);
    atomic_fetch_add(&r->tally[rc == 0 ? 0 : rc == KP_ETIMEDOUT ? 1 : 2], 1);
    if (rc == 0) rounds_release(r, &lease);
    atomic_store(&h8.ended, true);
}

static void h8_answers(struct rounds *r)
{
    kp_job *job;

    ROUNDS_AWAIT(atomic_load(&h8.job) || atomic_load(&h8.ended));
    if (!(job = atomic_load(&h8.job))) return; /* served by the return before it created */
    if (h8.until.ns) rounds_spin_until(h8.until.ns + rounds_roll(150000));
    rounds_pause(2000);
    if (h8.fails) {
        rounds_unmade(r, 'a');
        kp_job_done(job, -11, NULL);
    } else {
        kp_job_done(job, 0, rounds_make(r, 'a'));
    }
}

static void h8_play(struct rounds *r, unsigned who)
{
    switch (who) {
    case 0: h8_hangs(r); break;
    case 1: h8_answers(r); break;
    case 2:
        ROUNDS_AWAIT(atomic_load(&h8.job) || atomic_load(&h8.ended) || r->round % 4 == 0);
        if (h8.until.ns) rounds_spin_until(h8.until.ns + rounds_roll(150000));
        rounds_pause(2000);
        rounds_release(r, &h8.held);
        break;
    default: (void)rounds_visit(r, "b", false);
    }
}

static void H8_a_return_a_late_create_and_a_deadline_at_once_lose_none_of_both(void **state)
{
    static const char *const tallies[] = { "served", "timed out", "failed", NULL };
    struct rounds *r = rounds_open("H8", 4, h8_play, tallies);

    (void)state;
    r->in_create = h8_create;
    r->options.limits.max_live = 2;
    while (rounds_next(r)) {
        /* with a limit on what is lent, a permit that was not given back would be noticed */
        r->options.budget.max_lent = rounds_roll(2) ? 2 : 0;
        rounds_pool(r);
        (void)rounds_get(r, "a", &h8.held);
        h8.fails = rounds_roll(4) == 0;
        h8.until.ns = rounds_roll(2) ? rounds_ns() + 100000 + rounds_roll(50000) : 0;
        atomic_store(&h8.job, NULL);
        atomic_store(&h8.ended, false);
        rounds_race(r);
        rounds_has(r, "a", 2);
        rounds_has(r, "b", 1);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H9: the keeper takes what a getter wanted ----------------------------------------------- */

static int some_time(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    (void)r;
    (void)job;
    (void)item;
    rounds_pause(1500);
    return 0;
}

enum { H9_MOST = 16 };

static atomic_ullong h9_back[H9_MOST]; /* by serial: when it was last given back; 0: not yet */

/* Like rounds_visit; also checks that, if gets look at ages, nothing stale is lent. */
static void h9_visit(struct rounds *r)
{
    uint64_t began = forward_now(NULL), back;
    kp_lease_about about = { 0 };
    kp_lease lease;

    if (rounds_get(r, "a", &lease)) return;
    ROUNDS_EXPECT(r, kp_lease_read(&lease, &about) && about.serial < H9_MOST, "%s", "serial");
    back = atomic_exchange(&h9_back[about.serial % H9_MOST], 0);
    if (back && !r->options.limits.idle_check)
        ROUNDS_EXPECT(r, began < back + TTL_NS, "%s", "a stale one was lent");
    rounds_pause(500);
    rounds_release(r, &lease);
    atomic_store(&h9_back[about.serial % H9_MOST], forward_now(NULL));
}

static void h9_play(struct rounds *r, unsigned who)
{
    if (who == 0) {
        atomic_fetch_add(&forward_ns, TTL_NS); /* it becomes stale at this moment */
        rounds_pause(3000);
        (void)kp_keep(r->pool);
    } else {
        h9_visit(r);
    }
}

static void H9_who_meets_the_keeper_at_a_stale_one_is_served_and_keeps_it(void **state)
{
    static const char *const tallies[] = { "expired", "kept", NULL };
    struct rounds *r = rounds_open("H9", 3, h9_play, tallies);

    (void)state;
    r->in_destroy = some_time;
    r->world.now_ns = forward_now;
    r->options.limits.max_live = 1;
    r->options.limits.idle_ttl_ms = TTL_MS;
    r->options.limits.max_age_ms = KP_OFF;
    while (rounds_next(r)) {
        /* if only the keeper looks, a getter may take a stale one before it does */
        r->options.limits.idle_check = r->round % 2 ? KP_CHECK_KEEPER : 0;
        rounds_pool(r);
        for (int i = 0; i < H9_MOST; i++) atomic_store(&h9_back[i], 0);
        h9_visit(r);
        rounds_race(r);
        atomic_fetch_add(&r->tally[atomic_load(&r->destroys) == 0], 1);
        rounds_has(r, "a", 1);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H10: a close in the middle of reaping --------------------------------------------------- */

static atomic_uint h10_destroys;

static int h10_destroy(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    unsigned nth = atomic_fetch_add(&h10_destroys, 1) + 1;

    (void)some_time(r, job, item);
    return nth == 2 ? -5 : 0;
}

static void h10_play(struct rounds *r, unsigned who)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    kp_lease lease;
    int64_t out;

    if (who < 2) {
        (void)kp_keep(r->pool);
    } else if (who == 2) {
        out = kp_pool_close(r->pool, modes[r->round % 3], r->round % 2 ? ROUNDS_LONG_MS : KP_NONE);
        ROUNDS_EXPECT(r, out >= 0 && out <= 5, "%lld out", (long long)out);
    } else {
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS };
        int rc = rounds_ask(r, "a", &ask, &lease);
        ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECLOSED, "%d", rc);
        if (rc == 0) rounds_release(r, &lease);
        atomic_fetch_add(&r->tally[rc != 0], 1);
    }
}

static void H10_a_close_in_the_middle_of_reaping_loses_none_of_them(void **state)
{
    static const char *const tallies[] = { "served", "closed", NULL };
    struct rounds *r = rounds_open("H10", 4, h10_play, tallies);

    (void)state;
    r->in_destroy = h10_destroy;
    r->world.now_ns = forward_now;
    r->options.limits.max_live = 5;
    r->options.limits.idle_ttl_ms = TTL_MS;
    while (rounds_next(r)) {
        kp_lease lease[5];
        rounds_pool(r);
        for (int i = 0; i < 5; i++) (void)rounds_get(r, "a", &lease[i]);
        for (int i = 0; i < 5; i++) rounds_release(r, &lease[i]);
        atomic_store(&h10_destroys, 0);
        atomic_fetch_add(&forward_ns, TTL_NS);
        rounds_race(r);
        ROUNDS_EXPECT(r, atomic_load(&r->destroy_failures) == 1, "%llu destroys failed",
                      atomic_load(&r->destroy_failures));
        rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H11: end what I hold, then get again in the same scope ---------------------------------- */

static void h11_play(struct rounds *r, unsigned who)
{
    kp_ask ask = { .within_ms = ROUNDS_LONG_MS };
    kp_scope scope = { 0 };

    if (who == 3) { /* this thread invalidates, at any moment, what the others hold */
        (void)kp_invalidate_key(r->pool, kp_str("a"));
        return;
    }
    for (int i = 0; i < 2; i++) {
        kp_lease lease;
        int rc = kp_scope_get(&scope, r->pool, kp_str("a"), &ask, &lease);
        rounds_answered(r, "a", rc, &lease);
        ROUNDS_EXPECT(r, rc == 0, "get number %d: %d", i + 1, rc);
        if (rc) continue;
        if (i == 0 && rounds_roll(2)) (void)kp_invalidate(r->pool, lease.resource);
        if (i == 0) rounds_discard(r, &lease);
        else rounds_let_go(r, &lease);
    }
    kp_scope_close(&scope);
}

static void H11_all_who_discard_the_only_one_get_another_in_the_same_scope(void **state)
{
    struct rounds *r = rounds_open("H11", 4, h11_play, NULL);

    (void)state;
    r->in_destroy = some_time;
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        rounds_race(r);
        rounds_has(r, "a", 1);
    }
    rounds_end(r);
}

/* ---- H12: release against discard of one lease ----------------------------------------------- */

static struct h12 { kp_lease copy[3]; } h12;

static void h12_play(struct rounds *r, unsigned who)
{
    kp_lease_about about;

    switch (who) {
    case 0: kp_release(&h12.copy[0]); break;
    case 1: kp_discard(&h12.copy[1]); break;
    default:
        rounds_look(r, r->pool);
        if (kp_lease_read(&h12.copy[2], &about))
            ROUNDS_EXPECT(r, about.serial > 0, "serial %llu", (unsigned long long)about.serial);
        rounds_look(r, r->pool);
    }
}

static void H12_of_a_release_and_a_discard_of_one_lease_exactly_one_counts(void **state)
{
    static const char *const tallies[] = { "released", "discarded", NULL };
    struct rounds *r = rounds_open("H12", 3, h12_play, tallies);

    (void)state;
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        unsigned long long misuses = atomic_load(&r->misuses), gone = atomic_load(&r->destroys);
        (void)rounds_get(r, "a", &h12.copy[0]);
        rounds_let_go(r, &h12.copy[0]);
        h12.copy[1] = h12.copy[2] = h12.copy[0];
        rounds_race(r);
        gone = atomic_load(&r->destroys) - gone;
        ROUNDS_EXPECT(r, atomic_load(&r->misuses) == misuses + 1, "%llu were told",
                      atomic_load(&r->misuses) - misuses);
        ROUNDS_EXPECT(r, rounds_rest(r).idle == 1 - gone, "%llu destroyed", gone);
        atomic_fetch_add(&r->tally[gone], 1);
        rounds_has(r, "a", 1);
    }
    rounds_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H8_a_return_a_late_create_and_a_deadline_at_once_lose_none_of_both),
        cmocka_unit_test(H9_who_meets_the_keeper_at_a_stale_one_is_served_and_keeps_it),
        cmocka_unit_test(H10_a_close_in_the_middle_of_reaping_loses_none_of_them),
        cmocka_unit_test(H11_all_who_discard_the_only_one_get_another_in_the_same_scope),
        cmocka_unit_test(H12_of_a_release_and_a_discard_of_one_lease_exactly_one_counts),
    };
    return cmocka_run_group_tests_name("hard cases H8 to H12, on real threads", tests, NULL, NULL);
}
