/* SPDX-License-Identifier: MIT
 *
 * The hard cases H13 to H18 as races on real threads: resources that many threads find broken or
 * discard, and keys that compete for a budget. See rounds.h; step by step they are in
 * tests/contract/hard*.c.
 */
#include "rounds.h"

/* ---- H13: all discard the same ones ---------------------------------------------------------- */

enum { H13_KEYS = 3, H13_EACH = 8, H13_ALL = H13_KEYS * H13_EACH, H13_CREW = 8 };

static const char *const names[] = { "a", "b", "c", "d", "z" };

static kp_lease h13_lease[H13_CREW][H13_ALL];

static void h13_play(struct rounds *r, unsigned who)
{
    kp_lease *lease = h13_lease[who];

    (void)r;
    for (unsigned n = H13_ALL; n > 0; n--) { /* each thread in a random order */
        unsigned i = (unsigned)rounds_roll(n);
        kp_lease chosen = lease[i];
        lease[i] = lease[n - 1];
        if (rounds_roll(4)) kp_discard(&chosen);
        else kp_release(&chosen);
    }
}

static void H13_of_all_who_end_the_same_leases_one_each_counts_and_nothing_is_left(void **state)
{
    struct rounds *r = rounds_open("H13", H13_CREW, h13_play, NULL);

    (void)state;
    r->options.limits.max_live = H13_EACH;
    rounds_pool(r);
    while (rounds_next(r)) {
        unsigned long long misuses = atomic_load(&r->misuses);
        for (int i = 0; i < H13_ALL; i++) {
            (void)rounds_get(r, names[i % H13_KEYS], &h13_lease[0][i]);
            rounds_let_go(r, &h13_lease[0][i]);
        }
        for (int i = 1; i < H13_CREW; i++) memcpy(h13_lease[i], h13_lease[0], sizeof h13_lease[0]);
        rounds_race(r);
        misuses = atomic_load(&r->misuses) - misuses;
        ROUNDS_EXPECT(r, misuses == (H13_CREW - 1) * H13_ALL, "%llu were told", misuses);
        for (int i = 0; i < H13_KEYS; i++) rounds_has(r, names[i], H13_EACH);
        (void)kp_invalidate_key(r->pool, KP_EVERY_KEY);
        ROUNDS_EXPECT(r, rounds_rest(r).live == 0, "%s", "invalidated");
    }
    rounds_end(r);
}

/* ---- H14: a broken return with a waiter at capacity ------------------------------------------ */

static struct h14 { kp_lease held; atomic_uint bad; } h14;

static int h14_check(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    unsigned bad = atomic_load(&h14.bad);

    (void)r;
    (void)job;
    (void)item;
    rounds_pause(1000);
    while (bad && !atomic_compare_exchange_weak(&h14.bad, &bad, bad - 1)) continue;
    return bad ? -7 : 0;
}

static void h14_play(struct rounds *r, unsigned who)
{
    if (who == 0) rounds_release(r, &h14.held);
    else (void)rounds_visit(r, "a", false);
}

static void H14_a_return_that_is_found_broken_serves_who_waits_with_a_new_one(void **state)
{
    struct rounds *r = rounds_open("H14", 3, h14_play, NULL);

    (void)state;
    r->in_check = h14_check;
    while (rounds_next(r)) {
        bool by_reset = r->round % 2; /* found broken by reset; else by validate at the next get */
        r->options.limits.max_live = 1;
        r->options.limits.validate_after_ms = KP_NONE;
        r->options.driver.reset = by_reset ? rounds_check : NULL;
        r->options.driver.validate = by_reset ? NULL : rounds_check;
        rounds_pool(r);
        atomic_store(&h14.bad, 0);
        (void)rounds_get(r, "a", &h14.held);
        atomic_store(&h14.bad, 1 + (unsigned)rounds_roll(2));
        rounds_race(r);
        ROUNDS_EXPECT(r, atomic_load(&h14.bad) == 0 || by_reset, "%s", "all were looked at");
        atomic_store(&h14.bad, 0);
        rounds_has(r, "a", 1);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H15: waiters of two keys at the limit of all -------------------------------------------- */

static struct h15 { kp_lease held[2]; bool both, lent; } h15;

static void h15_play(struct rounds *r, unsigned who)
{
    switch (who) {
    case 0: (void)rounds_visit(r, "b", false); break;
    case 1:
        if (h15.both) (void)rounds_visit(r, "a", false);
        break;
    case 2: rounds_release(r, &h15.held[0]); break;
    default:
        if (rounds_roll(2)) rounds_discard(r, &h15.held[1]);
        else rounds_release(r, &h15.held[1]);
    }
}

static void H15_whoever_waits_at_the_limit_of_all_keys_is_served_by_a_return(void **state)
{
    struct rounds *r = rounds_open("H15", 4, h15_play, NULL);

    (void)state;
    while (rounds_next(r)) {
        kp_stats s;
        h15.both = rounds_roll(2);
        h15.lent = rounds_roll(2); /* the limit is on what is lent: then nothing is evicted */
        r->options.budget.max_live = h15.lent ? 0 : 2;
        r->options.budget.max_lent = h15.lent ? 2 : 0;
        r->options.limits.max_live = rounds_roll(2) ? 2 : KP_UNLIMITED;
        r->options.budget.across = rounds_roll(2) ? KP_ACROSS_ARRIVAL : KP_ACROSS_SHARE;
        rounds_pool(r);
        for (int i = 0; i < 2; i++) (void)rounds_get(r, "a", &h15.held[i]);
        rounds_race(r);
        s = rounds_rest(r);
        ROUNDS_EXPECT(r, h15.lent ? s.evicted == 0 : s.live <= 2 && s.evicted <= 2, "%llu evicted",
                      (unsigned long long)s.evicted);
        rounds_has(r, "b", 2);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H16: eviction for another key against the getters of that key --------------------------- */

enum { H16_KEYS = 4, H16_EACH = 2 };

static void h16_play(struct rounds *r, unsigned who)
{
    (void)rounds_visit(r, names[who], false);
}

static int h16_destroy(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    (void)r;
    (void)job;
    (void)item;
    rounds_pause(3000);
    return 0;
}

static void H16_what_makes_room_is_one_that_nobody_has_and_one_only(void **state)
{
    struct rounds *r = rounds_open("H16", H16_KEYS + 1, h16_play, NULL);

    (void)state;
    r->in_destroy = h16_destroy;
    r->options.limits.max_live = H16_EACH;
    r->options.budget.max_live = H16_KEYS * H16_EACH;
    while (rounds_next(r)) {
        kp_lease lease[H16_KEYS * H16_EACH];
        kp_stats s;
        rounds_pool(r);
        for (int i = 0; i < H16_KEYS * H16_EACH; i++)
            (void)rounds_get(r, names[i % H16_KEYS], &lease[i]);
        for (int i = 0; i < H16_KEYS * H16_EACH; i++) rounds_release(r, &lease[i]);
        rounds_race(r);
        s = rounds_rest(r);
        ROUNDS_EXPECT(r, s.evicted == 1 && s.destroys == 1, "%llu evicted",
                      (unsigned long long)s.evicted);
        ROUNDS_EXPECT(r, s.live == H16_KEYS * H16_EACH, "%llu live", (unsigned long long)s.live);
        for (int i = 0; i <= H16_KEYS; i++) rounds_has(r, names[i], 1);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H17: a deadline behind another's create ------------------------------------------------- */

static struct h17 {
    kp_deadline until[2]; /* of the get that creates, and of the one that waits behind */
    _Atomic(kp_job *) job;
    atomic_uint ended; /* of these two */
} h17;

static int h17_create(struct rounds *r, kp_job *job)
{
    (void)r;
    if (!job->tag || strcmp(job->tag, "hangs") != 0 || atomic_load(&h17.job)) return 0;
    atomic_store(&h17.job, job);
    return KP_PENDING;
}

static void h17_waits(struct rounds *r, unsigned who)
{
    kp_ask ask = { .until = h17.until[who], .tag = "hangs" };
    kp_lease lease;
    int rc;

    if (who == 1) ROUNDS_AWAIT(atomic_load(&h17.job) || atomic_load(&h17.ended));
    rc = rounds_ask(r, "a", &ask, &lease);
    ROUNDS_EXPECT(r, rc == 0 || rc == KP_ETIMEDOUT, "%d", rc);
    atomic_fetch_add(&r->tally[rc != 0], 1);
    if (rc == 0) rounds_release(r, &lease);
    atomic_fetch_add(&h17.ended, 1);
}

static void h17_play(struct rounds *r, unsigned who)
{
    if (who < 2) {
        h17_waits(r, who);
    } else if (who == 2) {
        (void)rounds_visit(r, "b", false);
    } else {
        ROUNDS_AWAIT(atomic_load(&h17.job) || atomic_load(&h17.ended) == 2);
        if (!atomic_load(&h17.job)) return; /* both timed out before the create began */
        rounds_spin_until(h17.until[rounds_roll(2)].ns + rounds_roll(80000));
        kp_job_done(atomic_load(&h17.job), 0, rounds_make(r, 'a'));
    }
}

static void H17_who_leaves_behind_anothers_create_takes_no_room_along(void **state)
{
    static const char *const tallies[] = { "served", "timed out", NULL };
    struct rounds *r = rounds_open("H17", 4, h17_play, tallies);

    (void)state;
    r->in_create = h17_create;
    r->options.limits.max_live = 1;
    r->options.budget.max_live = 2;
    while (rounds_next(r)) {
        kp_lease both[2];
        rounds_pool(r);
        for (int i = 0; i < 2; i++)
            h17.until[i].ns = rounds_ns() + 100000 + rounds_roll(100000);
        atomic_store(&h17.job, NULL);
        atomic_store(&h17.ended, 0);
        rounds_race(r);
        rounds_has(r, "a", 1);
        rounds_has(r, "b", 1);
        for (int i = 0; i < 2; i++) (void)rounds_get(r, names[i], &both[i]);
        for (int i = 0; i < 2; i++) rounds_release(r, &both[i]);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H18: a failing get, again and again, in one scope --------------------------------------- */

static int h18_create(struct rounds *r, kp_job *job)
{
    (void)r;
    return strcmp(job->tag, "fails") == 0 ? kp_job_fail(job, 11, "as ever") : 0;
}

static void h18_play(struct rounds *r, unsigned who)
{
    kp_scope scope = { 0 };

    for (int i = 0; i < 6; i++) {
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS, .tag = i < 5 ? "fails" : "rounds" };
        kp_lease lease;
        int rc = kp_scope_get(&scope, r->pool, kp_str(names[who]), &ask, &lease);
        rounds_answered(r, names[who], rc, &lease);
        ROUNDS_EXPECT(r, rc == (i < 5 ? KP_ECREATE : 0), "get number %d: %d", i + 1, rc);
        if (rc == 0) rounds_let_go(r, &lease);
    }
    kp_scope_close(&scope);
}

/* Each thread has a scope and a key of its own; all together may borrow only one. */
static void H18_retries_of_a_failing_get_in_one_scope_use_nothing_up(void **state)
{
    struct rounds *r = rounds_open("H18", 4, h18_play, NULL);

    (void)state;
    r->in_create = h18_create;
    r->options.limits.max_live = 1;
    r->options.budget.max_lent = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        rounds_race(r);
        for (int i = 0; i < 4; i++) rounds_has(r, names[i], 1);
        ROUNDS_EXPECT(r, kp_invalidate_key(r->pool, KP_EVERY_KEY) == 4, "%s", "one each");
    }
    rounds_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H13_of_all_who_end_the_same_leases_one_each_counts_and_nothing_is_left),
        cmocka_unit_test(H14_a_return_that_is_found_broken_serves_who_waits_with_a_new_one),
        cmocka_unit_test(H15_whoever_waits_at_the_limit_of_all_keys_is_served_by_a_return),
        cmocka_unit_test(H16_what_makes_room_is_one_that_nobody_has_and_one_only),
        cmocka_unit_test(H17_who_leaves_behind_anothers_create_takes_no_room_along),
        cmocka_unit_test(H18_retries_of_a_failing_get_in_one_scope_use_nothing_up),
    };
    return cmocka_run_group_tests_name("hard cases H13 to H18, on real threads", tests, NULL, NULL);
}
