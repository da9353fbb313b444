/* SPDX-License-Identifier: MIT
 *
 * Request 3, pgbouncer#131, #103: under a cap that several pools share, users A and B, with many
 * clients, take whatever comes free, and user C times out; and the maxima should follow the demand.
 * There pools are looked at in the order of their names. Here what comes back goes to the key that
 * is furthest below its share, at each release.
 */
#include "contract/house.h"

enum { CLIENTS = 10, HOLD_MS = 100 };

static const char *const a[] = { "a" }, *const b[] = { "b" };

static void clients(struct house *h, struct worker *w, const char *const *user, unsigned rounds)
{
    for (int i = 0; i < CLIENTS; i++) {
        w[i] = (struct worker){ .house = h, .keys = user, .key_count = 1, .rounds = rounds,
                                .hold_ms = HOLD_MS, .within_ms = KP_MINUTES(10) };
        w[i].task = kp_sim_spawn(h->sim, worker_run, &w[i]);
        assert_true(w[i].task > 0);
    }
}

static kp_options of_four(struct house *h)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    o.budget.max_live = 4;
    return o;
}

static void a_user_with_one_client_must_wait_for_one_release_at_most(void **state)
{
    struct worker w[2 * CLIENTS];
    struct house h;
    kp_options o = of_four(&h);

    (void)state;
    house_open(&h, &o);
    clients(&h, w, a, 50);
    clients(&h, w + CLIENTS, b, 50);
    house_pass(&h, 1050);
    for (int i = 0; i < 20; i++) {
        int64_t asked = kp_sim_now_ms(h.sim);
        kp_lease lease = house_get_within(&h, "c", 1000);
        HOUSE_HAS(&h, kp_sim_now_ms(h.sim) - asked <= HOLD_MS);
        house_pass(&h, HOLD_MS);
        house_release(&h, &lease);
        house_pass(&h, 37);
    }
    HOUSE_IS(&h, house_stats(&h, NULL).timeouts, 0);
    kp_sim_join(h.sim, 0);
    house_close(&h);
}

static void what_a_user_may_have_must_follow_the_demand(void **state)
{
    struct worker early[CLIENTS], late[CLIENTS];
    struct house h;
    kp_options o = of_four(&h);

    (void)state;
    house_open(&h, &o);
    clients(&h, early, a, 20);
    house_pass(&h, 1050);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 4); /* alone: all of it */
    clients(&h, late, b, 5);
    house_pass(&h, HOLD_MS);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 2);
    HOUSE_IS(&h, house_stats(&h, "b").lent, 2);
    for (int i = 0; i < CLIENTS; i++) kp_sim_join(h.sim, late[i].task);
    house_pass(&h, HOLD_MS / 2);
    HOUSE_IS(&h, house_stats(&h, "a").lent, 4); /* and again, at once */
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, house_cast(&h).most_live, 4);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_with_one_client_must_wait_for_one_release_at_most),
        cmocka_unit_test(what_a_user_may_have_must_follow_the_demand),
    };
    return cmocka_run_group_tests_name("request 3", tests, NULL, NULL);
}
