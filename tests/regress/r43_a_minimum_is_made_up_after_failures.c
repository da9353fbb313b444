/* SPDX-License-Identifier: MIT
 *
 * Request 43, npgsql#5966, psycopg#370, #1315, node-postgres PR #3696, node-oracledb#1379: the
 * minimum is a promise only until the first connection breaks, or is refused: the pool stays below
 * it until somebody asks, or for ever. Here what is missing is made in the background, and after a
 * failure again after a pause, whether the driver blocks or answers later; and that ends when all
 * are there.
 */
#include "contract/house.h"

enum { MOST = 3 };

/* Whether it blocks or answers later, a create takes 10 ms. */
#define TAKES(later) .takes_ms = (later) ? 10 : 0, .blocks_ms = (later) ? 0 : 10

static void all_must_be_there(struct house *h, int64_t within_ms, int min)
{
    house_pass(h, within_ms);
    kp_stats s = house_stats(h, "db");
    HOUSE_IS(h, s.idle, min);
    HOUSE_IS(h, s.live, min);
    house_pass(h, KP_MINUTES(2));
    HOUSE_IS(h, house_stats(h, "db").creates, s.creates); /* and no more */
    HOUSE_IS(h, house_stats(h, "db").create_failures, s.create_failures);
}

/* The first get has one; then `good` ones are made, and then so many are refused. */
static void fills(bool later, int min, int good, int fails)
{
    const kp_line lines[] = { { .times = 1 + good },
                              { TAKES(later), .status = -1, .times = fails },
                              { TAKES(later), .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_options o = house_plan(&h, (uint64_t)fails, NULL, &script);

    o.limits.min_live = min;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db");
    house_release(&h, &lease);
    all_must_be_there(&h, KP_SECONDS(10), min);
    HOUSE_IS(&h, house_cast(&h).create_failures, fails);
    house_close(&h);
}

static void a_minimum_that_was_refused_at_first_must_be_filled(void **state)
{
    (void)state;
    for (int later = 0; later <= 1; later++)
        for (int good = 0; good < MOST - 1; good++)
            for (int fails = 1; fails <= 4; fails++) fills(later, MOST, good, fails);
}

/* All break in one moment; some are made again, and then the server is away for a while. */
static void makes_up(bool later, bool is_idle, int min)
{
    const kp_line lines[] = { { TAKES(later), .times = 2 * min - 1 },
                              { TAKES(later), .status = -1, .times = 8 },
                              { TAKES(later), .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_options o = house_plan(&h, (uint64_t)min, NULL, &script);
    kp_limits keeps = { .refill = KP_REFILL_EAGER };

    if (is_idle) keeps.min_idle = min;
    else keeps.min_live = min;
    house_open(&h, &o);
    house_stock(&h, "db", (unsigned)min);
    assert_int_equal(kp_limits_set(h.pool, kp_str("db"), &keeps, NULL), 0);
    HOUSE_IS(&h, kp_invalidate_key(h.pool, kp_str("db")), min);
    all_must_be_there(&h, KP_MINUTES(2), min);
    HOUSE_IS(&h, house_cast(&h).create_failures, 8);
    house_close(&h);
}

static void a_minimum_that_broke_must_be_made_up_once_that_is_possible(void **state)
{
    (void)state;
    for (int min = 1; min <= MOST; min++)
        for (int i = 0; i < 4; i++) makes_up(i & 1, i & 2, min);
}

/* One at a time while they fail: not each of the minimum with a pause of its own. */
static void while_it_fails_one_must_be_tried_at_a_time(void **state)
{
    static const kp_line lines[] = { { .takes_ms = 1 },
                                     { .takes_ms = 1, .status = -1, .times = KP_OFF }, { 0 } };
    const kp_script script = { .create = lines };
    struct house h;
    kp_options o = house_plan(&h, 1, NULL, &script);

    (void)state;
    o.limits.min_live = MOST;
    o.limits.refill = KP_REFILL_EAGER;
    o.limits.retry_first_ms = o.limits.retry_max_ms = KP_SECONDS(10);
    o.limits.idle_ttl_ms = o.limits.max_age_ms = KP_OFF;
    house_open(&h, &o);
    kp_lease lease = house_get(&h, "db"); /* is out all the time, so that the key stays in use */
    house_pass(&h, KP_MINUTES(30));
    /* full jitter: about one in five seconds */
    HOUSE_HAS(&h, house_cast(&h).create_failures >= 180);
    HOUSE_HAS(&h, house_cast(&h).create_failures <= 720);
    house_release(&h, &lease);
    house_close(&h);
}

/* The same where somebody had it warmed, and nothing else keeps a minimum. */
static void a_warm_up_in_the_background_must_go_on_after_failures(void **state)
{
    kp_key key = kp_str("db");
    struct house h;

    (void)state;
    for (int later = 0; later <= 1; later++) {
        const kp_line lines[] = { { TAKES(later), .status = -1, .times = 2 },
                                  { TAKES(later), .times = KP_OFF }, { 0 } };
        const kp_script script = { .create = lines };
        kp_options o = house_plan(&h, 1, NULL, &script);

        house_open(&h, &o);
        HOUSE_IS(&h, kp_warm(h.pool, &key, 1, NULL), 0);
        house_pass(&h, KP_SECONDS(5));
        HOUSE_IS(&h, house_stats(&h, "db").idle, 1);
        HOUSE_IS(&h, house_cast(&h).create_failures, 2);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimum_that_was_refused_at_first_must_be_filled),
        cmocka_unit_test(a_minimum_that_broke_must_be_made_up_once_that_is_possible),
        cmocka_unit_test(while_it_fails_one_must_be_tried_at_a_time),
        cmocka_unit_test(a_warm_up_in_the_background_must_go_on_after_failures),
    };
    return cmocka_run_group_tests_name("request 43", tests, NULL, NULL);
}
