/* SPDX-License-Identifier: MIT
 *
 * What a third hostile review found in the books: groups that are joined while a victim is
 * destroyed, creations that are promised, and invalidated resources that came back over a lane.
 */
#include <stdlib.h>

#include "contract.h"

static contract c;
static kp_gate gate[2];
static char things[32];
static int makes, making, most_making;

static int make(kp_job *job, void **out)
{
    making++;
    if (making > most_making) most_making = making;
    if (strcmp(job->key.data, "slow") == 0) kp_gate_pass(c.sim, &gate[1]);
    making--;
    *out = &things[makes++];
    return 0;
}

static int drop(kp_job *job, void *resource)
{
    (void)resource;
    if (strcmp(job->key.data, "v") == 0) kp_gate_pass(c.sim, &gate[0]);
    return 0;
}

static const kp_driver plain = { .create = make, .destroy = drop };

static void begin(int64_t live)
{
    memset(gate, 0, sizeof gate);
    makes = making = most_making = 0;
    contract_begin(&c, NULL);
    c.options.limits.prefill = KP_PREFILL_NONE;
    c.options.budget.max_live = live;
}

static void take(const char *key, kp_lease *lease)
{
    assert_int_equal(kp_get(c.pool, kp_str(key), NULL, lease), 0);
}

/* A task that gets and keeps it. */
struct taker {
    const char *key;
    kp_lease lease;
    int rc;
};

static void get(void *arg)
{
    struct taker *t = arg;

    t->rc = kp_get(c.pool, kp_str(t->key), NULL, &t->lease);
}

static void start(struct taker *t, const char *key)
{
    *t = (struct taker){ .key = key, .rc = 1 };
    assert_true(kp_sim_spawn(c.sim, get, t) > 0);
    (void)kp_sim_settle(c.sim);
}

static void an_heir_that_joins_a_full_group_must_not_keep_it_above_its_limit(void **state)
{
    struct taker heir;
    kp_lease a, v;

    (void)state;
    begin(2);
    c.options.budget.group_max_live[0] = 1;
    contract_open_driver(&c, &plain);
    take("v", &v);
    kp_release(&v);
    take("a", &a);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &(kp_limits){ .group[0] = 5 }, NULL), 0);
    start(&heir, "h"); /* v goes for it */
    assert_int_equal(kp_limits_set(c.pool, kp_str("h"), &(kp_limits){ .group[0] = 5 }, NULL), 0);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(heir.rc, 0);
    kp_release(&a);
    kp_release(&heir.lease);
    contract_rest(&c);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).live, 1);
    contract_end(&c);
}

static void put_into_group(const char *key, int64_t group)
{
    kp_key pin;

    assert_int_equal(kp_pin(c.pool, kp_str(key), &pin), 0);
    assert_int_equal(kp_limits_set(c.pool, pin, &(kp_limits){ .group[0] = group }, NULL), 0);
    kp_unpin(c.pool, &pin);
}

/* Its last key has taken along what it was promised. The end of v is not counted in what the next
 * group made of it has. */
static void a_group_must_count_nothing_that_was_promised_to_the_last_one(void **state)
{
    struct taker heir;
    kp_lease a, v, x, none;

    (void)state;
    begin(2);
    c.options.limits.max_live = 2;
    c.options.budget.group_max_live[0] = 1;
    contract_open_driver(&c, &plain);
    take("v", &v);
    kp_release(&v);
    take("a", &a);
    put_into_group("h", 5);
    start(&heir, "h"); /* v goes for it */
    put_into_group("h", 6);
    put_into_group("x", 7);
    kp_discard(&a);
    take("x", &x);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(heir.rc, 0);
    assert_int_equal(kp_budget_set(c.pool, &(kp_budget){ .max_live = 9 }, NULL), 0);
    assert_int_equal(kp_get(c.pool, kp_str("x"), KP_IN_MS(10), &none), KP_ETIMEDOUT);
    kp_release(&x);
    kp_release(&heir.lease);
    contract_end(&c);
}

static void what_is_promised_must_count_as_a_creation_in_the_background_too(void **state)
{
    struct taker heir;
    kp_lease v, x;
    kp_key slow = kp_str("slow");

    (void)state;
    begin(2);
    c.options.limits.max_creating = 1;
    contract_open_driver(&c, &plain);
    take("v", &v);
    kp_release(&v);
    take("x", &x);
    start(&heir, "slow"); /* v goes for it */
    kp_discard(&x);
    assert_int_equal(
        kp_limits_set(c.pool, slow, &(kp_limits){ .min_live = 2, .refill = KP_REFILL_EAGER }, NULL),
        0);
    (void)kp_sim_settle(c.sim);
    kp_gate_open(c.sim, &gate[0]);
    (void)kp_sim_settle(c.sim);
    kp_gate_open(c.sim, &gate[1]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(heir.rc, 0);
    kp_sim_pass_ms(c.sim, 2000);
    assert_int_equal(contract_stats(&c, slow).live, 2);
    assert_int_equal(most_making, 1);
    kp_release(&heir.lease);
    contract_end(&c);
}

/* The lane of this key is open afterwards, if there are any. */
static void lend_another(const char *key)
{
    kp_lease lease;

    take(key, &lease);
    kp_release(&lease);
}

static void the_mark_of_a_probe_must_not_be_lost_on_a_lane(void **state)
{
    kp_lease first, probe;

    (void)state;
    begin(KP_UNLIMITED);
    c.options.limits.breaker_failures = 1;
    c.options.limits.breaker_open_ms = 5000;
    c.options.limits.breaker_counts = KP_BREAK_USE;
    contract_open_driver(&c, &plain);
    take("a", &first);
    take("a", &probe);
    kp_release(&probe);
    kp_release(&first); /* both are on its lane */
    take("a", &probe);
    kp_lease_report(&probe, -1);
    kp_release(&probe);
    kp_sim_pass_ms(c.sim, 5000);
    take("a", &probe);
    assert_int_equal(kp_retry_now(c.pool, kp_str("a")), 0);
    lend_another("a");
    kp_release(&probe);
    take("a", &probe);
    kp_lease_report(&probe, -1);
    kp_release(&probe);
    kp_sim_pass_ms(c.sim, 5000);
    lend_another("a"); /* a probe of which nothing is heard */
    take("a", &probe); /* so this is one, too */
    kp_release(&probe);
    contract_end(&c);
}

/* ---- what is left to drain ------------------------------------------------------------------- */

static void one_with_a_floor_among_those_that_share(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->sharing = 3;
    if (strcmp(key.data, "floor") == 0) limits->floor = 1;
}

/* A thread that waits for the only place until it times out. */
static void get_for_a_while(void *arg)
{
    struct taker *t = arg;

    t->rc = kp_get(c.pool, kp_str(t->key), KP_IN_MS(100), &t->lease);
}

enum { KEYS = 10 };

static void seats_must_be_lent_again_when_who_was_owed_their_room_has_gone(void **state)
{
    static const char keys[KEYS][2] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    struct taker owed = { .key = "floor" }, other, next[KEYS];
    kp_lease lease[KEYS];

    (void)state;
    begin(KEYS);
    c.options.limits_for = one_with_a_floor_among_those_that_share;
    contract_open_driver(&c, &plain);
    c.sharing = 3;
    for (int i = 0; i < KEYS; i++) take(keys[i], &lease[i]);
    assert_true(kp_sim_spawn(c.sim, get_for_a_while, &owed) > 0);
    (void)kp_sim_settle(c.sim);
    start(&other, "b"); /* is owed nothing by a key that has no more than one */
    for (int i = 0; i < KEYS; i++) {
        start(&next[i], keys[i]);
        assert_int_equal(next[i].rc, 1); /* its room is to go to the one with the floor */
    }
    kp_sim_pass_ms(c.sim, 200);
    assert_int_equal(owed.rc, KP_ETIMEDOUT);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(next[i].rc, 0);
        kp_release(&next[i].lease);
    }
    assert_int_equal(other.rc, 1);
    for (int i = 0; i < KEYS; i++) kp_release(&lease[i]);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(other.rc, 0);
    kp_release(&other.lease);
    contract_end(&c);
}

static void seats_must_be_lent_again_when_idle_ones_make_room_no_more(void **state)
{
    struct taker other, next;
    kp_lease lease;

    (void)state;
    begin(1);
    c.options.limits_for = one_with_a_floor_among_those_that_share;
    contract_open_driver(&c, &plain);
    c.sharing = 3;
    take("a", &lease);
    start(&other, "floor");
    start(&next, "a");
    assert_int_equal(next.rc, 1);
    assert_int_equal(kp_budget_set(c.pool, &(kp_budget){ .evict_other_keys = KP_OFF }, NULL), 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(next.rc, 0);
    assert_int_equal(other.rc, 1);
    kp_release(&next.lease);
    kp_release(&lease);
    assert_int_equal(kp_evict(c.pool, kp_str("a"), KP_NONE), 1);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(other.rc, 0);
    kp_release(&other.lease);
    contract_end(&c);
}

/* ---- seats of what was in doubt, used up, or old --------------------------------------------- */

static int is_well(kp_job *job, void *resource)
{
    (void)job, (void)resource;
    return 0;
}

static void one_that_was_used_well_must_be_shared_again(void **state)
{
    struct taker third;
    kp_lease well, gone;

    (void)state;
    begin(KP_UNLIMITED);
    c.options.limits.sharing = c.options.limits.max_live = 2;
    contract_open_driver(&c, &(kp_driver){ .create = make, .destroy = drop, .validate = is_well });
    take("a", &well);
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_ASK(.flags = KP_FRESH), &gone), 0);
    kp_lease_report(&gone, KP_EGONE);
    start(&third, "a");
    assert_int_equal(third.rc, 1); /* the other one may be gone, too */
    kp_lease_report(&well, 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(third.rc, 0);
    kp_release(&third.lease);
    kp_release(&well);
    kp_release(&gone);
    contract_end(&c);
}

static void seats_must_follow_how_often_one_may_be_used(void **state)
{
    kp_limits more = { .max_uses = 3 }, fewer = { .max_uses = 2 };
    struct taker third;
    kp_lease lease[2];

    (void)state;
    begin(KP_UNLIMITED);
    c.options.limits.sharing = 3;
    c.options.limits.max_live = 1;
    c.options.limits.max_uses = 2;
    contract_open_driver(&c, &plain);
    c.sharing = 3;
    take("a", &lease[0]);
    take("a", &lease[1]);
    start(&third, "a");
    assert_int_equal(third.rc, 1); /* it is used up */
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &more, NULL), 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(third.rc, 0);
    kp_release(&third.lease);
    kp_release(&lease[0]);
    kp_release(&lease[1]);
    take("a", &lease[0]); /* another one */
    take("a", &lease[1]);
    assert_int_equal(makes, 2);
    kp_release(&lease[0]);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &fewer, NULL), 0);
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_IN_MS(10), &third.lease), KP_ETIMEDOUT);
    kp_release(&lease[1]);
    contract_end(&c);
}

static int is_bad(kp_job *job, void *resource)
{
    (void)job;
    return resource == &things[0] ? -1 : 0;
}

static void seats_of_what_is_looked_into_first_must_stay_shut_whatever_the_limits(void **state)
{
    kp_limits more = { .max_lent = KP_UNLIMITED };
    struct taker first, second;
    kp_lease lease;

    (void)state;
    begin(KP_UNLIMITED);
    c.options.limits.sharing = 2;
    c.options.limits.max_live = c.options.limits.max_lent = 1;
    c.options.limits.validate_after_ms = KP_NONE;
    contract_open_driver(&c, &(kp_driver){ .create = make, .destroy = drop, .validate = is_bad });
    take("a", &lease);
    start(&first, "a");
    start(&second, "a");
    kp_release(&lease);
    assert_int_equal(kp_limits_set(c.pool, kp_str("a"), &more, NULL), 0);
    (void)kp_sim_settle(c.sim);
    assert_int_equal(first.rc, 0);
    assert_int_equal(second.rc, 0);
    assert_ptr_equal(first.lease.resource, &things[1]);
    assert_ptr_equal(second.lease.resource, &things[1]);
    kp_release(&first.lease);
    kp_release(&second.lease);
    contract_end(&c);
}

static void an_age_that_the_minimum_stops_must_not_shut_the_seats(void **state)
{
    kp_lease lease[2];

    (void)state;
    begin(KP_UNLIMITED);
    c.options.limits.sharing = 2;
    c.options.limits.min_live = c.options.limits.max_live = 1;
    c.options.limits.max_age_ms = 1000;
    c.options.limits.age_spread_pct = KP_NONE;
    c.options.limits.respects_min = KP_KIND_AGE;
    contract_open_driver(&c, &plain);
    take("a", &lease[0]);
    kp_sim_pass_ms(c.sim, 2000);
    assert_int_equal(kp_get(c.pool, kp_str("a"), KP_IN_MS(10), &lease[1]), 0);
    kp_release(&lease[0]);
    kp_release(&lease[1]);
    assert_int_equal(contract_stats(&c, kp_str("a")).idle, 1);
    contract_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_heir_that_joins_a_full_group_must_not_keep_it_above_its_limit),
        cmocka_unit_test(a_group_must_count_nothing_that_was_promised_to_the_last_one),
        cmocka_unit_test(what_is_promised_must_count_as_a_creation_in_the_background_too),
        cmocka_unit_test(the_mark_of_a_probe_must_not_be_lost_on_a_lane),
        cmocka_unit_test(seats_must_be_lent_again_when_who_was_owed_their_room_has_gone),
        cmocka_unit_test(seats_must_be_lent_again_when_idle_ones_make_room_no_more),
        cmocka_unit_test(one_that_was_used_well_must_be_shared_again),
        cmocka_unit_test(seats_must_follow_how_often_one_may_be_used),
        cmocka_unit_test(seats_of_what_is_looked_into_first_must_stay_shut_whatever_the_limits),
        cmocka_unit_test(an_age_that_the_minimum_stops_must_not_shut_the_seats),
    };
    (void)setenv("KP_LANES", "2", 1); /* where the build listens to it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
