/* SPDX-License-Identifier: MIT
 *
 * Request 13, the most repeated bug of all pools: Effect #8390, keypool #708/#709, bb8#59, #67,
 * httpcore#1093, sqlx#3513, #3582. A get that runs out of time just as it is served takes the slot
 * with it. Here a request is answered once, under the lock: it has the resource or it has not, and
 * what it was given in the last moment is its own. The same for requests that are cancelled:
 * r13_a_get_that_is_cancelled_leaks_nothing.c.
 */
#include "contract/house.h"

enum { ALL = 2, WAITERS = 4, END_MS = 10 };

/* All that the key may have can be had at once. */
static void nothing_is_missing(struct house *h)
{
    kp_lease lease[ALL];

    for (int i = 0; i < ALL; i++) lease[i] = house_get_within(h, "db", 1);
    HOUSE_IS(h, house_stats(h, "db").live, ALL);
    HOUSE_IS(h, house_stats(h, "db").waiting, 0);
    for (int i = 0; i < ALL; i++) house_release(h, &lease[i]);
}

/* Ends its lease when the others' time is up, before or after them: its own is up just then, as it
 * waited for what nobody will give back. */
struct holder {
    struct house *h;
    kp_lease lease;
    bool discards;
};

static void ends_it(void *arg)
{
    struct holder *own = arg;
    kp_lease none;

    if (kp_get(own->h->pool, kp_str("other"),
               KP_ASK(.within_ms = END_MS, .flags = KP_DONT_CREATE), &none) != KP_ETIMEDOUT)
        own->h->overlaps++;
    house_exit(&own->lease);
    if (own->discards) kp_discard(&own->lease);
    else kp_release(&own->lease);
}

static void meets_its_hand_off(uint64_t seed, bool discards, int *served)
{
    struct visitor v[WAITERS] = { { 0 } };
    struct house h;
    struct holder holder[ALL];
    kp_options o = house_plan(&h, seed, NULL, NULL);

    o.limits.max_live = ALL;
    house_open(&h, &o);
    for (int i = 0; i < ALL; i++)
        holder[i] = (struct holder){ &h, house_get(&h, "db"), discards };
    house_shuffle(&h, true);
    for (int i = 0; i < ALL; i++) assert_true(kp_sim_spawn(h.sim, ends_it, &holder[i]) > 0);
    for (int i = 0; i < WAITERS; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "db", END_MS);
    }
    kp_sim_join(h.sim, 0);
    house_shuffle(&h, false);
    for (int i = 0; i < WAITERS; i++) {
        HOUSE_HAS(&h, v[i].rc == 0 || v[i].rc == KP_ETIMEDOUT);
        HOUSE_IS(&h, v[i].answered_ms, END_MS);
        *served += v[i].rc == 0;
    }
    nothing_is_missing(&h);
    house_close(&h);
}

static void a_deadline_that_meets_the_hand_off_must_lose_no_slot(void **state)
{
    int served = 0;

    (void)state;
    print_message("seeds 1 to 100\n");
    for (uint64_t seed = 1; seed <= 100; seed++) {
        meets_its_hand_off(seed, false, &served);
        meets_its_hand_off(seed, true, &served);
    }
    assert_in_range(served, 1, 200 * WAITERS - 1); /* some one way, some the other */
}

static void a_deadline_that_meets_the_end_of_its_create_must_lose_no_slot(void **state)
{
    static const kp_line slow[] = { { .takes_ms = END_MS, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = slow };

    (void)state;
    print_message("seeds 1 to 100\n");
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct visitor v[WAITERS] = { { 0 } };
        struct house h;
        kp_options o = house_plan(&h, seed, NULL, &script);
        o.limits.max_live = ALL;
        house_open(&h, &o);
        house_shuffle(&h, true);
        for (int i = 0; i < WAITERS; i++) {
            v[i].stay_ms = KP_NONE;
            visitor_send(&h, &v[i], "db", END_MS);
        }
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        house_pass(&h, END_MS);
        nothing_is_missing(&h);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_that_meets_the_hand_off_must_lose_no_slot),
        cmocka_unit_test(a_deadline_that_meets_the_end_of_its_create_must_lose_no_slot),
    };
    return cmocka_run_group_tests_name("request 13, time-outs", tests, NULL, NULL);
}
