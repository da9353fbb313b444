/* SPDX-License-Identifier: MIT
 *
 * Request 5, multigres/multigres#546: a fair share per user that follows the demand, max-min, with
 * a floor for each. There a rebalancer computes it every 10 s. Here nobody computes it: it holds
 * after one turn of the resources, because every release asks who is furthest below its share.
 */
#include "contract/house.h"

enum { HOLD_MS = 10, MANY = 20 };

static const char *const a[] = { "a" }, *const b[] = { "b" }, *const c[] = { "c" };

static void users(struct house *h, struct worker *w, const char *const *key, int count,
                  unsigned rounds)
{
    for (int i = 0; i < count; i++) {
        w[i] = (struct worker){ .house = h, .keys = key, .key_count = 1, .rounds = rounds,
                                .hold_ms = HOLD_MS, .within_ms = KP_MINUTES(10) };
        w[i].task = kp_sim_spawn(h->sim, worker_run, &w[i]);
        assert_true(w[i].task > 0);
    }
}

static void lent(struct house *h, unsigned of_a, unsigned of_b, unsigned of_c)
{
    HOUSE_IS(h, house_stats(h, "a").lent, of_a);
    HOUSE_IS(h, house_stats(h, "b").lent, of_b);
    HOUSE_IS(h, house_stats(h, "c").lent, of_c);
}

static void small_demand_must_be_met_and_the_rest_be_split_evenly(void **state)
{
    struct worker wa[MANY], wb[MANY], wc[2];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 12;
    o.limits.max_live = KP_UNLIMITED;
    house_open(&h, &o);
    users(&h, wa, a, MANY, 5);
    users(&h, wb, b, MANY, 100);
    users(&h, wc, c, 2, 200);
    house_pass(&h, 100 + HOLD_MS / 2);
    lent(&h, 5, 5, 2); /* max-min of 20, 20 and 2 over 12 */
    for (int i = 0; i < MANY; i++) kp_sim_join(h.sim, wa[i].task);
    house_pass(&h, HOLD_MS + HOLD_MS / 2); /* one turn later, not ten seconds */
    lent(&h, 0, 10, 2);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, house_cast(&h).most_live, 12);
    house_close(&h);
}

/* "a" has nine times the weight, "b" a floor. */
static void weight_or_floor(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (*(const char *)key.data == 'a') limits->weight = 9;
    if (*(const char *)key.data == 'b') limits->floor = 4;
}

static void a_floor_must_hold_against_any_weight(void **state)
{
    struct worker wa[MANY], wb[MANY], wc[MANY];
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, NULL);

    (void)state;
    o.budget.max_live = 16;
    o.limits.max_live = o.limits.max_creating = KP_UNLIMITED;
    o.limits_for = weight_or_floor;
    house_open(&h, &o);
    users(&h, wa, a, MANY, 50);
    house_pass(&h, HOLD_MS / 2);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 16);
    users(&h, wb, b, MANY, 10);
    users(&h, wc, c, MANY, 3);
    house_pass(&h, HOLD_MS);
    HOUSE_IS(&h, house_stats(&h, "b").lent, 4);
    HOUSE_HAS(&h, house_stats(&h, "c").lent >= 1); /* nor is anybody starved by them */
    HOUSE_HAS(&h, house_stats(&h, "a").lent >= 9);
    kp_sim_join(h.sim, 0);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_demand_must_be_met_and_the_rest_be_split_evenly),
        cmocka_unit_test(a_floor_must_hold_against_any_weight),
    };
    return cmocka_run_group_tests_name("request 5", tests, NULL, NULL);
}
