/* SPDX-License-Identifier: MIT
 *
 * Request 37, hackney#643, #391, PR #892: a slot is lost where something fails, or where the pool
 * stops; the limit per host then starves the node. Here live = creating + idle + lent + closing at
 * every moment, whatever fails: the house asserts it at each millisecond of these, with every
 * function of the driver failing now and then, and at the end all that the limits allow can be had
 * at once.
 */
#include "contract/house.h"

enum { WORKERS = 6, ROUNDS = 60, LINES = 400, MOST = 3 };

static const char *const hosts[] = { "a", "b" };

/* What each run does, by the seed: one in `odds` fails, some take a while. */
static void drawn(kp_line *lines, uint64_t *dice, unsigned odds)
{
    for (int i = 0; i < LINES; i++) {
        *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t throw = *dice >> 33;
        lines[i] = (kp_line){ .blocks_ms = 1 + (int64_t)(throw % 3),
                              .status = throw / 3 % odds ? 0 : -1 };
    }
    lines[LINES] = (kp_line){ 0 };
}

static kp_options failing(struct house *h, uint64_t seed)
{
    static kp_line create[LINES + 1], validate[LINES + 1], reset[LINES + 1], destroy[LINES + 1];
    const kp_script script = { create, validate, reset, destroy, NULL, NULL };
    uint64_t dice = seed;

    drawn(create, &dice, 3);
    drawn(validate, &dice, 4);
    drawn(reset, &dice, 5);
    drawn(destroy, &dice, 2);
    kp_options o = house_plan(h, seed, NULL, &script);
    o.limits.max_live = MOST;
    o.limits.retry_first_ms = KP_NONE;
    o.limits.validate_after_ms = KP_NONE;
    return o;
}

static void starts(struct house *h, struct worker *w)
{
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){ .house = h, .keys = hosts, .key_count = 2, .rounds = ROUNDS,
                                .discard_pct = 20, .hold_ms = 2, .within_ms = 20,
                                .dice = h->seed + (uint64_t)i };
        w[i].task = kp_sim_spawn(h->sim, worker_run, &w[i]);
        assert_true(w[i].task > 0);
    }
}

/* Trying again where it fails. */
static void a_key_has_all_it_may_have(struct house *h, const char *key)
{
    const kp_limits again = { .on_create_failure = KP_FAIL_RETRY };
    kp_lease lease[MOST];

    assert_int_equal(kp_limits_set(h->pool, kp_str(key), &again, NULL), 0);
    for (int i = 0; i < MOST; i++) lease[i] = house_get_within(h, key, 500);
    HOUSE_IS(h, house_stats(h, key).lent, MOST);
    for (int i = 0; i < MOST; i++) house_release(h, &lease[i]);
}

static void errors_everywhere_must_lose_no_slot(void **state)
{
    (void)state;
    print_message("seeds 1 to 20\n");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct worker w[WORKERS];
        struct house h;
        kp_options o = failing(&h, seed);
        house_open(&h, &o);
        starts(&h, w);
        for (int ms = 0; ms < 300; ms++) house_pass(&h, 1);
        kp_sim_join(h.sim, 0);
        house_check(&h);
        HOUSE_HAS(&h, house_stats(&h, NULL).create_failures > 0);
        HOUSE_HAS(&h, house_stats(&h, NULL).destroy_failures > 0);
        HOUSE_HAS(&h, house_stats(&h, NULL).invalid > 0);
        for (int i = 0; i < 2; i++) a_key_has_all_it_may_have(&h, hosts[i]);
        house_close(&h);
    }
}

static void a_stop_amid_errors_must_leave_nothing(void **state)
{
    (void)state;
    print_message("seeds 1 to 20\n");
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct worker w[WORKERS];
        struct house h;
        kp_options o = failing(&h, seed);
        house_open(&h, &o);
        starts(&h, w);
        house_pass(&h, 20 + (int64_t)seed);
        (void)kp_pool_close(h.pool, KP_CLOSE_NOW, 1);
        h.ended = true;
        house_close(&h); /* when all tasks have ended: made == destroyed */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_everywhere_must_lose_no_slot),
        cmocka_unit_test(a_stop_amid_errors_must_leave_nothing),
    };
    return cmocka_run_group_tests_name("request 37", tests, NULL, NULL);
}
