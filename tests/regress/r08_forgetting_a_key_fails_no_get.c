/* SPDX-License-Identifier: MIT
 *
 * Request 8, sneako/finch#311, #291, #159, #294: pools for hosts that come and go never end; the
 * shutdown of idle ones passes by those that are empty, and races a checkout, which then fails with
 * `exit :idle_timeout`. Here a key that nobody used for `forget_key_after_ms` is forgotten, whether
 * it ever had a resource or not, in one step with the look whether somebody wants it: no get fails
 * because its key was just going. And a program that knows that a host is gone says so (kp_drop).
 */
#include "contract/house.h"

enum { IDLE_MS = 500, UNUSED_MS = 1000, VISITORS = 4 };

static kp_options short_lived(struct house *h, uint64_t seed, const kp_script *script)
{
    kp_options o = house_plan(h, seed, NULL, script);

    o.limits.idle_ttl_ms = IDLE_MS;
    o.forget_key_after_ms = UNUSED_MS;
    return o;
}

static void a_key_that_never_had_anything_must_be_forgotten_too(void **state)
{
    static const kp_line fails[] = { { .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = fails };
    struct house h;
    kp_options o = short_lived(&h, 1, &script);

    (void)state;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "gone.example", 1000), KP_ECREATE);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    house_pass(&h, KP_MINUTES(1));
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).create_failures, 1); /* the totals stay */
    house_close(&h);
}

/* From one ms before the idle one expires, or the key is forgotten, to one ms after it. */
static void gets_meet_the_end(uint64_t seed, int64_t at_ms)
{
    struct visitor v[VISITORS] = { { 0 } };
    struct house h;
    kp_options o = short_lived(&h, seed, NULL);

    house_open(&h, &o);
    house_stock(&h, "host", 1);
    house_shuffle(&h, true);
    kp_sim_pass_ms(h.sim, at_ms);
    for (int i = 0; i < VISITORS; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "host", 1000);
    }
    kp_sim_join(h.sim, 0);
    house_shuffle(&h, false);
    for (int i = 0; i < VISITORS; i++) HOUSE_IS(&h, v[i].rc, 0);
    house_pass(&h, KP_MINUTES(1));
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    house_close(&h);
}

static void a_get_must_not_fail_because_its_key_is_going(void **state)
{
    (void)state;
    print_message("seeds 1 to 50\n");
    for (uint64_t seed = 1; seed <= 50; seed++) {
        for (int64_t ms = -1; ms <= 1; ms++) {
            gets_meet_the_end(seed, IDLE_MS + ms);
            gets_meet_the_end(seed, IDLE_MS + UNUSED_MS + ms);
        }
    }
}

/* One is idle, one lent, one more waits; then it is dropped, at the very moment of other gets. */
static void gets_meet_a_drop(uint64_t seed)
{
    struct visitor v[2 * VISITORS] = { { 0 } };
    struct house h;
    kp_options o = short_lived(&h, seed, NULL);

    o.limits.max_live = 2;
    house_open(&h, &o);
    house_stock(&h, "host", 2);
    house_shuffle(&h, true);
    for (int i = 0; i < 2 * VISITORS; i++) {
        v[i].stay_ms = i % 2 ? KP_NONE : 3;
        visitor_send(&h, &v[i], "host", KP_SECONDS(30));
        if (i == VISITORS - 1) (void)!kp_drop(h.pool, kp_str("host"), KP_NONE);
        if (i == VISITORS) kp_sim_pass_ms(h.sim, 1);
    }
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("host"), KP_SECONDS(10)), 0);
    kp_sim_join(h.sim, 0);
    house_shuffle(&h, false);
    for (int i = 0; i < 2 * VISITORS; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_IS(&h, kp_drop(h.pool, kp_str("host"), KP_NONE), 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0); /* now, not when it was unused for so long */
    house_close(&h);
}

static void a_get_must_not_fail_because_its_key_is_dropped(void **state)
{
    (void)state;
    print_message("seeds 1 to 100\n");
    for (uint64_t seed = 1; seed <= 100; seed++) gets_meet_a_drop(seed);
}

static void a_key_in_use_must_not_be_forgotten(void **state)
{
    struct house h;
    kp_options o = short_lived(&h, 1, NULL);

    (void)state;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "host");
    house_pass(&h, KP_HOURS(1));
    HOUSE_IS(&h, house_stats(&h, NULL).keys_forgotten, 0);
    HOUSE_IS(&h, house_stats(&h, "host").lent, 1);
    house_release(&h, &lease);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_never_had_anything_must_be_forgotten_too),
        cmocka_unit_test(a_get_must_not_fail_because_its_key_is_going),
        cmocka_unit_test(a_get_must_not_fail_because_its_key_is_dropped),
        cmocka_unit_test(a_key_in_use_must_not_be_forgotten),
    };
    return cmocka_run_group_tests_name("request 8", tests, NULL, NULL);
}
