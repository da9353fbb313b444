/* SPDX-License-Identifier: MIT
 *
 * Shares where more than two keys compete: for leases, in groups, for shared resources, by arrival,
 * a hundred keys with random weights, and keys that come and go. In virtual time.
 */
#include "market.h"

enum { USUAL_MS = 100 };

static void run(market *m, int holds)
{
    market_open(m);
    market_run(m, 50 * USUAL_MS, (50 + holds) * (int64_t)USUAL_MS);
}

static double off_by(double is, double fair)
{
    return (is > fair ? is - fair : fair - is) / fair;
}

/* commons-pool's starvation case, exactly: B never waits at all, and nothing is created again. */
static void commons_pools_starvation_case_must_not_starve(void **state)
{
    (void)state;
    for (int64_t weight = 1; weight <= 3; weight += 2) {
        market m;
        market_begin(&m, 3);
        m.options.budget.max_live = 4;
        market_key(&m, 8, weight, USUAL_MS);
        market_key(&m, 1, 1, USUAL_MS);
        run(&m, 500);
        print_message("weights %d:1: A holds %.3f, B %.3f; B waits %d ms at most, %d made\n",
                      (int)weight, market_share(&m, 0), market_share(&m, 1),
                      (int)m.stalls[1].longest_ms, (int)m.creates);
        assert_true(off_by(market_share(&m, 0), 3) <= 0.02);
        assert_true(off_by(market_share(&m, 1), 1) <= 0.02);
        assert_int_equal(m.stalls[1].longest_ms, 0);
        assert_int_equal(m.creates, 0);
        market_end(&m);
    }
}

/* Two groups with a limit of four each, and two keys in each group. */
static void keys_of_a_group_must_share_it_by_weight(void **state)
{
    const int64_t weights[] = { 3, 1, 2, 2 };
    market m;

    (void)state;
    market_begin(&m, 5);
    m.options.budget.group_max_live[0] = m.options.budget.group_max_live[1] = 4;
    for (int k = 0; k < 4; k++) market_key(&m, 6, weights[k], USUAL_MS)->group[k / 2] = 1;
    run(&m, 1000);
    for (int k = 0; k < 4; k++) {
        double fair = k < 2 ? (double)weights[k] : 2;
        print_message("group %d, weight %d: %.3f of %.0f\n", k / 2, (int)weights[k],
                      market_share(&m, k), fair);
        assert_true(off_by(market_share(&m, k), fair) <= 0.02);
    }
    market_end(&m);
}

/* Two keys in a group with a limit of two, and two outside of it; the limit over all is six. */
static void what_a_group_leaves_must_be_shared_by_the_others(void **state)
{
    const double fair[] = { 1, 1, 2, 2 };
    market m;

    (void)state;
    market_begin(&m, 6);
    m.options.budget.max_live = 6;
    m.options.budget.group_max_live[0] = 2;
    market_key(&m, 6, 1, USUAL_MS)->group[0] = 1;
    market_key(&m, 6, 1, USUAL_MS)->group[0] = 1;
    market_key(&m, 6, 1, USUAL_MS);
    market_key(&m, 6, 1, USUAL_MS);
    run(&m, 1000);
    for (int k = 0; k < 4; k++) {
        print_message("key %d: %.3f of %.0f\n", k, market_share(&m, k), fair[k]);
        assert_true(off_by(market_share(&m, k), fair[k]) <= 0.02);
    }
    market_end(&m);
}

/* Four resources, each for three borrowers; shares of what is live, so three leases for each. */
static void shares_must_hold_where_resources_are_shared(void **state)
{
    market m;

    (void)state;
    market_begin(&m, 7);
    m.options.budget.max_live = 4;
    m.options.limits.sharing = 3;
    market_key(&m, 16, 3, USUAL_MS);
    market_key(&m, 16, 1, USUAL_MS);
    run(&m, 1000);
    print_message("leases: A %.2f of 9, B %.2f of 3\n", market_share(&m, 0), market_share(&m, 1));
    assert_true(off_by(market_share(&m, 0), 9) <= 0.02);
    assert_true(off_by(market_share(&m, 1), 3) <= 0.02);
    market_end(&m);
}

/* In one queue a key that asks more gets more, whatever the weights. */
static void by_arrival_each_thread_must_have_the_same(void **state)
{
    market m;

    (void)state;
    market_begin(&m, 8);
    m.options.budget.max_lent = 3;
    m.options.budget.across = KP_ACROSS_ARRIVAL;
    market_key(&m, 8, 1, USUAL_MS);
    market_key(&m, 4, 100, USUAL_MS);
    run(&m, 2000);
    print_message("8 threads %.3f of 2, 4 threads %.3f of 1\n", market_share(&m, 0),
                  market_share(&m, 1));
    assert_true(off_by(market_share(&m, 0), 2) <= 0.02);
    assert_true(off_by(market_share(&m, 1), 1) <= 0.02);
    market_end(&m);
}

static void many_keys_must_have_their_shares(int keys, int64_t permits, bool lent, int holds)
{
    uint64_t seed = 20261121;
    double worst = 0;
    int64_t all = 0;
    market m;

    print_message("seed %llu: ", (unsigned long long)seed);
    market_begin(&m, seed);
    if (lent) m.options.budget.max_lent = permits;
    else m.options.budget.max_live = permits;
    for (int k = 0; k < keys; k++) {
        int64_t weight = 5 + (int64_t)(market_random(&seed) % 16);
        market_key(&m, 4, weight, 50 + (int64_t)(market_random(&seed) % 100));
        all += weight;
    }
    run(&m, holds);
    for (int k = 0; k < keys; k++) {
        double fair = (double)(permits * m.stalls[k].weight) / (double)all;
        double off = off_by(market_share(&m, k), fair);
        if (off > worst) worst = off;
    }
    print_message("%d keys, %d %s, %llu leases: worst share is off by %.2f %%, %llu made\n", keys,
                  (int)permits, lent ? "leases" : "live", (unsigned long long)m.gets, 100 * worst,
                  (unsigned long long)m.creates);
    assert_true(worst <= 0.02);
    market_end(&m);
}

/* In the short run, for each commit, there are fewer keys where resources are moved. */
static void a_hundred_keys_of_random_weights_and_holds_must_each_have_its_share(void **state)
{
    bool full = getenv("KP_SECONDS") != NULL;

    (void)state;
    many_keys_must_have_their_shares(100, 60, true, 600);
    many_keys_must_have_their_shares(full ? 100 : 12, full ? 60 : 7, false, full ? 2000 : 5000);
}

/* ---- keys that come and go ------------------------------------------------------------------- */

enum { COMERS = 9, COMERS_WEIGHT = 3, RESIDENTS = 2, SEATS = 2 };

static int64_t comers_weight(kp_key key)
{
    return *(const char *)key.data == 'n' ? COMERS_WEIGHT : 1;
}

static void of_comers(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->weight = comers_weight(key);
}

struct storm {
    market m;
    int named;
    uint64_t resident_gets, most_comer, most_resident;
    int64_t resident_ms;
};

/* Borrows once; its key is never used again. */
static void come_and_go(void *arg)
{
    struct storm *s = arg;
    kp_ask ask = { .within_ms = KP_OFF };
    kp_lease lease;
    char name[16];
    while (kp_sim_now_ms(s->m.sim) < s->m.to_ms) {
        snprintf(name, sizeof name, "n%d", s->named++);
        uint64_t before = s->m.gets;
        if (kp_get(s->m.pool, kp_str(name), &ask, &lease) != 0) s->m.failures++;
        if (s->m.gets - before > s->most_comer) s->most_comer = s->m.gets - before;
        s->m.gets++;
        kp_sim_pass_ms(s->m.sim, USUAL_MS);
        kp_release(&lease);
    }
}

static void stay(void *arg)
{
    struct storm *s = arg;
    kp_ask ask = { .within_ms = KP_OFF };
    kp_lease lease;
    while (kp_sim_now_ms(s->m.sim) < s->m.to_ms) {
        uint64_t before = s->m.gets;
        if (kp_get(s->m.pool, kp_str("resident"), &ask, &lease) != 0) s->m.failures++;
        if (s->m.gets - before > s->most_resident) s->most_resident = s->m.gets - before;
        s->m.gets++;
        s->resident_gets++;
        kp_sim_pass_ms(s->m.sim, USUAL_MS);
        s->resident_ms += USUAL_MS;
        kp_release(&lease);
    }
}

/* While a request waits, others are served at most TAU (W / w + 2 W / m + n) times (decision 0013):
 * W is the sum of the weights of the n keys that compete, w its key's own weight, m the smallest,
 * TAU = 8. The resident key has the smallest. A key is neither preferred nor held back for being
 * new. */
static void keys_that_come_and_go(bool lent)
{
    const uint64_t all = COMERS * COMERS_WEIGHT + 1, bound = 8 * (all + 2 * all + COMERS + 1);
    struct storm s = { .named = 0 };

    market_begin(&s.m, 9);
    s.m.options.limits_for = of_comers;
    s.m.options.forget_key_after_ms = KP_NONE;
    if (lent) s.m.options.budget.max_lent = SEATS;
    else s.m.options.budget.max_live = SEATS;
    market_open(&s.m);
    s.m.to_ms = 3000 * USUAL_MS;
    for (int i = 0; i < COMERS; i++) assert_true(kp_sim_spawn(s.m.sim, come_and_go, &s) > 0);
    for (int i = 0; i < RESIDENTS; i++) assert_true(kp_sim_spawn(s.m.sim, stay, &s) > 0);
    kp_sim_join(s.m.sim, 0);
    assert_int_equal(s.m.failures, 0);
    double share = (double)s.resident_ms / (double)s.m.to_ms;
    double fair = (double)SEATS / (double)all;
    print_message("%d keys came and went, by %s: the resident held %.4f of %.4f; it saw at most "
                  "%d others served while it waited (bound %d), a comer %d\n",
                  s.named, lent ? "leases" : "live", share, fair, (int)s.most_resident,
                  (int)bound, (int)s.most_comer);
    assert_true(share >= 0.98 * fair);
    assert_true(s.most_resident <= bound);
    assert_true(s.most_comer <= 8 * (all / COMERS_WEIGHT + 2 * all + COMERS + 1));
    market_end(&s.m);
}

static void nobody_must_wait_longer_than_its_share_implies_while_keys_come_and_go(void **state)
{
    (void)state;
    keys_that_come_and_go(true);
    keys_that_come_and_go(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commons_pools_starvation_case_must_not_starve),
        cmocka_unit_test(keys_of_a_group_must_share_it_by_weight),
        cmocka_unit_test(what_a_group_leaves_must_be_shared_by_the_others),
        cmocka_unit_test(shares_must_hold_where_resources_are_shared),
        cmocka_unit_test(by_arrival_each_thread_must_have_the_same),
        cmocka_unit_test(nobody_must_wait_longer_than_its_share_implies_while_keys_come_and_go),
        cmocka_unit_test(a_hundred_keys_of_random_weights_and_holds_must_each_have_its_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
