/* SPDX-License-Identifier: MIT
 *
 * The hard case H24: lost wake-ups, when returns and requests race, in a long queue, and behind a
 * slow create. And what happens when the world changes between two steps of one call (H6, H8, H22,
 * H23).
 */
#include "house.h"

static void gives_back(void *arg)
{
    kp_lease *lease = arg;
    house_exit(lease);
    kp_release(lease);
}

/* H24, B-WAIT-31 (BB8-1): N returns and N requests race */
static void H24_as_many_returns_as_requests_must_serve_all_of_them(void **state)
{
    uint64_t seed;
    int i;
    (void)state;
    print_message("seeds 1 to 100\n");
    for (seed = 1; seed <= 100; seed++) {
        kp_lease give[3];
        struct visitor v[3] = { { 0 } };
        struct house h;
        kp_options o = house_plan(&h, seed, "commons", NULL);
        o.limits.max_live = 3;
        house_open(&h, &o);
        for (i = 0; i < 3; i++) {
            give[i] = house_get(&h, "a");
        }
        house_shuffle(&h, true);
        for (i = 0; i < 3; i++) {
            visitor_send(&h, &v[i], "a", KP_OFF);
            (void)kp_sim_spawn(h.sim, gives_back, &give[i]);
        }
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        for (i = 0; i < 3; i++) {
            HOUSE_IS(&h, v[i].rc, 0);
            house_release(&h, &v[i].lease);
        }
        HOUSE_IS(&h, house_cast(&h).creates, 3);
        house_close(&h);
    }
}

/* H24, B-WAIT-30 (25 000 elsewhere; here as many as a test may have threads) */
static void H24_five_hundred_who_wait_for_three_must_all_be_served(void **state)
{
    static struct visitor v[500];
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    int i;
    (void)state;
    memset(v, 0, sizeof v);
    o.limits.max_live = 3;
    house_open(&h, &o);
    for (i = 0; i < 500; i++) {
        v[i].stay_ms = KP_NONE;
        visitor_send(&h, &v[i], "a", 5000);
    }
    kp_sim_join(h.sim, 0);
    for (i = 0; i < 500; i++) HOUSE_IS(&h, v[i].rc, 0);
    HOUSE_HAS(&h, house_cast(&h).creates <= 3);
    house_close(&h);
}

/* H24, B-GET-16 (E3-11): a create that is not needed any more is not followed by another */
static void H24_who_is_served_by_a_return_must_leave_one_create_and_start_no_other(void **state)
{
    static const kp_line slow[] = { { .times = 1 }, { .takes_ms = 1000, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = slow };
    struct visitor v = { 0 };
    struct house h;
    kp_lease lease, again;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    o.limits.max_live = 10;
    house_open(&h, &o);
    lease = house_get(&h, "a");
    visitor_send(&h, &v, "a", KP_OFF);
    house_pass(&h, 51);
    house_release(&h, &lease);
    house_settle(&h);
    HOUSE_IS(&h, v.answered_ms, 51);
    house_pass(&h, 2000);
    HOUSE_IS(&h, house_cast(&h).creates, 2);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    again = house_get(&h, "a");
    HOUSE_IS(&h, house_number(&again), 2);
    house_release(&h, &again);
    house_release(&h, &v.lease);
    house_close(&h);
}

/* ---- between two steps: variants of H6 and H8 that lie inside one get ---- */

static void closes_inside_a_get(const kp_script *script, bool by_check, int64_t answered_ms)
{
    struct visitor v = { 0 };
    struct house h;
    kp_options o = house_plan(&h, 1, "commons", script);
    house_open(&h, &o);
    if (by_check) house_stock(&h, "a", 1);
    visitor_send(&h, &v, "a", KP_OFF);
    house_pass(&h, 5);
    HOUSE_HAS(&h, !v.answered);
    HOUSE_IS(&h, kp_pool_close(h.pool, KP_CLOSE_NOW, 100), 1);
    h.ended = true;
    kp_sim_join(h.sim, v.task);
    HOUSE_IS(&h, v.rc, KP_ECLOSED);
    HOUSE_IS(&h, v.answered_ms, answered_ms);
    house_pass(&h, 1000);
    HOUSE_IS(&h, house_cast(&h).creates, 1); /* and none was begun for it */
    house_close(&h);
}

/* H6: its check fails after the close, so it would have to wait again, for nobody */
static void H6_who_finds_a_bad_one_after_the_close_must_be_told_of_it_at_once(void **state)
{
    static const kp_line bad[] = { { .blocks_ms = 10, .status = -1 }, { 0 } };
    const kp_script script = { .validate = bad };
    (void)state;
    closes_inside_a_get(&script, true, 10);
}

/* H6: its create begins before the close and says "later" after it */
static void H6_whose_create_turns_pending_after_the_close_must_be_told_of_it_at_once(void **state)
{
    static const kp_line slow[] = { { .blocks_ms = 10, .takes_ms = 500 }, { 0 } };
    const kp_script script = { .create = slow };
    (void)state;
    closes_inside_a_get(&script, false, 10);
}

/* H8: the request that created it does not get it, and waits on */
static void H8_a_creation_given_to_another_must_not_upset_the_count_of_what_is_lent(void **state)
{
    static kp_gate gate;
    static const kp_line lines[] = { { .takes_ms = 1, .gate = &gate }, { .takes_ms = 2 }, { 0 } };
    const kp_script script = { .create = lines };
    struct visitor g1 = { 0 }, g2 = { 0 };
    struct house h;
    kp_lease other;
    kp_options o = house_plan(&h, 1, "commons", &script);
    (void)state;
    gate = (kp_gate){ 0 };
    o.limits.max_live = 2;
    o.budget.max_lent = 2;
    house_open(&h, &o);
    visitor_send(&h, &g1, "a", KP_OFF);
    visitor_send(&h, &g2, "a", KP_OFF);
    house_pass(&h, 10);
    HOUSE_HAS(&h, g1.answered && !g2.answered);
    house_release(&h, &g1.lease);
    visitor_end(&g2);
    HOUSE_IS(&h, g2.number, g1.number);
    other = house_get(&h, "b");
    HOUSE_IS(&h, house_fails(&h, "c", 10), KP_ETIMEDOUT);
    kp_gate_open(h.sim, &gate);
    house_settle(&h);
    house_release(&h, &other);
    house_release(&h, &g2.lease);
    g1.lease = house_get(&h, "a"); /* and both permits are back */
    g2.lease = house_get(&h, "a");
    HOUSE_IS(&h, house_fails(&h, "b", 10), KP_ETIMEDOUT);
    house_release(&h, &g1.lease);
    house_release(&h, &g2.lease);
    house_close(&h);
}

/* ---- H23: (b) and the minimum, with a destroy that takes its time ---- */

static void two_return_at_once(const kp_limits *limits, int64_t kept)
{
    static const kp_line slow[] = { { .blocks_ms = 10, .times = KP_OFF }, { 0 } };
    const kp_script script = { .destroy = slow };
    struct house h;
    kp_lease lease[2];
    kp_options o = house_plan(&h, 1, "commons", &script);
    o.limits = *limits;
    house_open(&h, &o);
    for (int i = 0; i < 2; i++) lease[i] = house_get(&h, "a");
    HOUSE_IS(&h, kp_limits_set(h.pool, kp_str("a"), &(kp_limits){ .max_live = kept }, NULL), 0);
    house_pass(&h, 50);
    for (int i = 0; i < 2; i++) (void)kp_sim_spawn(h.sim, gives_back, &lease[i]);
    kp_sim_join(h.sim, 0);
    HOUSE_IS(&h, house_stats(&h, "a").idle, 1);
    HOUSE_IS(&h, house_cast(&h).destroys, 1);
    house_close(&h);
}

/* H23 (b): what is being destroyed already is too many no longer */
static void H23_of_two_that_return_at_once_above_a_lowered_limit_one_must_be_kept(void **state)
{
    (void)state;
    two_return_at_once(&(kp_limits){ .max_live = 2 }, 1);
}

static void H23_of_two_that_return_too_old_at_once_the_minimum_must_be_kept(void **state)
{
    (void)state;
    two_return_at_once(&(kp_limits){ .max_live = 2,
                                     .min_live = 1,
                                     .max_age_ms = 20,
                                     .age_spread_pct = KP_NONE,
                                     .age_check = KP_CHECK_RETURN,
                                     .respects_min = KP_KIND_AGE },
                       2);
}

/* ---- H22: forgotten between being found and being used ---- */

struct faster {
    kp_pool *pool;
    int copies, drops;
    int64_t forgotten;
};

static uint64_t any_hash(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)key + seed;
}

static bool any_equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

/* While the first get copies its key, another one of the same key comes and goes ... */
static int copy_slowly(const void *from, void *to, void *ctx)
{
    struct faster *f = ctx;
    kp_lease lease;
    *(uint64_t *)to = *(const uint64_t *)from;
    if (f->copies++ > 0) return 0;
    assert_int_equal(kp_get(f->pool, KP_KEY((const uint64_t *)from), NULL, &lease), 0);
    kp_discard(&lease);
    return 0;
}

/* ... and while it drops the copy that it does not need, the key is forgotten. */
static void drop_slowly(void *copied, void *ctx)
{
    struct faster *f = ctx;
    kp_stats s;
    (void)copied;
    if (f->drops++ > 0) return;
    (void)kp_keep(f->pool);
    assert_int_equal(kp_stats_read(f->pool, KP_EVERY_KEY, &s), 0);
    f->forgotten = (int64_t)s.keys_forgotten;
}

/* H22 */
static void H22_a_key_that_another_made_faster_must_not_be_forgotten_under_a_get(void **state)
{
    struct faster f = { 0 };
    struct house h;
    uint64_t key = 7;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.key_type = (kp_key_type){ .size = sizeof key,
                                .hash = any_hash,
                                .equal = any_equal,
                                .copy = copy_slowly,
                                .drop = drop_slowly,
                                .ctx = &f };
    o.forget_key_after_ms = KP_NONE;
    o.threads = KP_NONE;
    house_open(&h, &o);
    f.pool = h.pool;
    assert_int_equal(kp_get(h.pool, KP_KEY(&key), NULL, &lease), 0);
    HOUSE_IS(&h, f.forgotten, 0);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
    HOUSE_IS(&h, house_stats(&h, NULL).lent, 1);
    kp_discard(&lease);
    house_pass(&h, 1);
    (void)kp_keep(h.pool);
    HOUSE_IS(&h, house_stats(&h, NULL).keys, 0);
    HOUSE_IS(&h, f.copies, f.drops);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H24_as_many_returns_as_requests_must_serve_all_of_them),
        cmocka_unit_test(H24_five_hundred_who_wait_for_three_must_all_be_served),
        cmocka_unit_test(H24_who_is_served_by_a_return_must_leave_one_create_and_start_no_other),
        cmocka_unit_test(H6_who_finds_a_bad_one_after_the_close_must_be_told_of_it_at_once),
        cmocka_unit_test(H6_whose_create_turns_pending_after_the_close_must_be_told_of_it_at_once),
        cmocka_unit_test(H8_a_creation_given_to_another_must_not_upset_the_count_of_what_is_lent),
        cmocka_unit_test(H23_of_two_that_return_at_once_above_a_lowered_limit_one_must_be_kept),
        cmocka_unit_test(H23_of_two_that_return_too_old_at_once_the_minimum_must_be_kept),
        cmocka_unit_test(H22_a_key_that_another_made_faster_must_not_be_forgotten_under_a_get),
    };
    return cmocka_run_group_tests_name("hard case H24, and between two steps", tests, NULL, NULL);
}
