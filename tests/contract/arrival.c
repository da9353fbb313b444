/* SPDX-License-Identifier: MIT
 *
 * Keys that compete with KP_ACROSS_ARRIVAL, by requests that wait in different orders: none is
 * starved (L7).
 */
#include "corners.h"

/* A task that borrows again and again until the time is over. */
struct user {
    contract *c;
    const char *key;
    int64_t until_ms, turns;
};

static void use(void *arg)
{
    struct user *u = arg;
    kp_ask ask = { .within_ms = KP_OFF };
    kp_lease lease;

    while (kp_sim_now_ms(u->c->sim) < u->until_ms &&
           kp_get(u->c->pool, kp_str(u->key), &ask, &lease) == 0) {
        u->turns++;
        kp_sim_pass_ms(u->c->sim, 10);
        kp_release(&lease);
    }
}

static void compete(contract *c, struct user *users, int many)
{
    for (int i = 0; i < many; i++) {
        users[i].c = c;
        users[i].until_ms = kp_sim_now_ms(c->sim) + 4000;
        assert_true(kp_sim_spawn(c->sim, use, &users[i]) > 0);
    }
    kp_sim_join(c->sim, 0);
}

/* The first letter of the key says its order. */
static void order_by_name(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->wait_order = ((const char *)key.data)[0] == 'l' ? KP_LIFO : KP_FIFO;
}

static void a_key_that_is_lifo_where_the_pool_is_not_must_have_its_turns(void **state)
{
    struct user users[] = { { .key = "first" }, { .key = "first" }, { .key = "first" },
                            { .key = "last" },  { .key = "last" },  { .key = "last" } };
    contract c;

    (void)state;
    begin(&c);
    c.options.limits_for = order_by_name;
    c.options.budget.max_lent = 1;
    c.options.budget.across = KP_ACROSS_ARRIVAL;
    contract_open(&c);
    compete(&c, users, 6);
    int64_t first = users[0].turns + users[1].turns + users[2].turns;
    int64_t last = users[3].turns + users[4].turns + users[5].turns;
    if (first < 50 || last < 50) fail_msg("%lld to %lld", (long long)first, (long long)last);
    contract_end(&c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_is_lifo_where_the_pool_is_not_must_have_its_turns),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
