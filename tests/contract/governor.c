/* SPDX-License-Identifier: MIT
 *
 * The rate limit on creations, on the virtual clock: budget.create_rate and create_burst hold to
 * the nanosecond.
 */
#include "governor.h"

enum { TASKS = 60 };
#define SECOND UINT64_C(1000000000)

/* Tasks that want one each of a key of their own, all now. */
static void crowd(struct getter *g, int many, int64_t within_ms)
{
    for (int i = 0; i < many; i++) {
        start(&g[i], g[i].name, within_ms);
        snprintf(g[i].name, sizeof g[i].name, "k%d", i);
        g[i].hold_ms = 100000;
    }
}

/* When the nth creation (from 0) since a calm may begin: the first ns at which there is a token. */
static uint64_t line(uint64_t from, uint64_t rate, uint64_t burst, uint64_t n)
{
    uint64_t late = n < burst ? 0 : n + 1 - burst;

    return from + late * SECOND / rate + (late * SECOND % rate > 0);
}

/* ---- the rate -------------------------------------------------------------------------------- */

static void creations_must_follow_the_line_and_nobody_wait_past_its_deadline(void **state)
{
    static const struct { int64_t rate, burst; } cases[] = { { 7, 3 }, { 3, 1 }, { 10, 0 } };
    static struct getter g[TASKS];

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        uint64_t r = (uint64_t)cases[c].rate, b = (uint64_t)cases[c].burst;
        int served = 0;
        open_stage((kp_options){ .budget = { .create_rate = cases[c].rate,
                                             .create_burst = cases[c].burst } },
                   NULL);
        if (b == 0) b = r;
        crowd(g, TASKS, 4000);
        kp_sim_pass_ms(the.sim, 4001);
        for (int i = 0; i < TASKS; i++) {
            served += g[i].rc == 1 || g[i].rc == 0; /* 1: it holds it */
            if (g[i].rc == 1 || g[i].rc == 0) continue;
            assert_int_equal(g[i].rc, KP_ETIMEDOUT);
            assert_int_equal(g[i].took_ms, 4000);
            assert_string_equal(g[i].why.limit, "budget.create_rate");
            assert_true(g[i].why.retry_after_ms > 0 &&
                        g[i].why.retry_after_ms <= 1000 / (int64_t)r + 1);
        }
        assert_int_equal(the.begun, b + 4 * r);
        assert_int_equal(served, the.begun);
        for (int n = 0; n < the.begun; n++)
            assert_int_equal(the.began[n], line(the.began[0], r, b, (uint64_t)n));
        close_stage();
    }
}

static void after_a_calm_no_more_than_the_burst_must_begin_at_once(void **state)
{
    static struct getter g[20];

    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 2, .create_burst = 4 } }, NULL);
    kp_sim_pass_ms(the.sim, 3600000);
    uint64_t now = kp_now_ns(the.pool);
    crowd(g, 20, 1000);
    kp_sim_pass_ms(the.sim, 999);
    assert_int_equal(the.begun, 4 + 1);
    for (int n = 0; n < 4; n++) assert_int_equal(the.began[n], now);
    assert_int_equal(the.began[4], now + SECOND / 2);
    close_stage();
}

/* What is idle needs no token, and neither does what comes from elsewhere. */
static void only_creations_must_need_tokens(void **state)
{
    static kp_prop mine;

    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 1, .create_burst = 1 } }, NULL);
    kp_lease lease = take("a");
    kp_release(&lease);
    struct getter g = { .key = "a", .within_ms = 10 };
    assert_int_equal(ask(&g), 0);
    assert_int_equal(kp_add(the.pool, kp_str("b"), &mine), 0);
    assert_int_equal(kp_invalidate(the.pool, &mine), 1);
    g.key = "c";
    assert_int_equal(ask(&g), KP_ETIMEDOUT);
    assert_int_equal(g.why.retry_after_ms, 990);
    g.within_ms = KP_NONE;
    assert_int_equal(ask(&g), KP_EAGAIN);
    assert_string_equal(g.why.limit, "budget.create_rate");
    g.within_ms = 990;
    g.hold_ms = 0;
    kp_sim_pass_ms(the.sim, 1);
    assert_int_equal(ask(&g), 0);
    assert_int_equal(g.took_ms, 989);
    close_stage();
}

static void out_of_memory_must_give_the_token_back(void **state)
{
    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 1, .create_burst = 1 },
                             .limits = { .sharing = 2 } }, /* memory for each */
               NULL);
    kp_lease lease = take("a");
    kp_sim_pass_ms(the.sim, 1000);
    struct getter g = { .key = "b", .within_ms = 10 };
    int failed = 0;
    for (int nth = 1; failed < 20; nth++) {
        kp_sim_fail_alloc(the.sim, nth, false);
        int rc = ask(&g);
        kp_sim_fail_alloc(the.sim, 0, false);
        if (rc == 0) break;
        assert_int_equal(rc, KP_ENOMEM);
        failed++;
    }
    assert_int_equal(g.rc, 0); /* in the same second */
    assert_int_equal(kp_sim_now_ms(the.sim), 1000);
    kp_release(&lease);
    close_stage();
}

static void the_background_must_keep_to_the_line_behind_requests(void **state)
{
    kp_key keys[10];
    static struct getter g;

    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 10, .create_burst = 1 } }, NULL);
    for (int i = 0; i < 10; i++) keys[i] = kp_bytes(&"0123456789"[i], 1);
    assert_int_equal(kp_warm(the.pool, keys, 10, NULL), 0);
    kp_sim_pass_ms(the.sim, 250);
    assert_int_equal(the.begun, 3);
    start(&g, "r", 1000);
    kp_sim_pass_ms(the.sim, 51);
    assert_int_equal(g.rc, 0);
    assert_int_equal(g.took_ms, 50); /* the next token is its own */
    kp_sim_pass_ms(the.sim, 2000);
    assert_int_equal(the.begun, 11);
    for (int n = 0; n < 4; n++)
        assert_int_equal(the.began[n], line(the.began[0], 10, 1, (uint64_t)n));
    for (int n = 4; n < 11; n++) assert_true(the.began[n] - the.began[n - 1] >= SECOND / 10);
    assert_true(the.began[10] - the.began[0] <= 12 * SECOND / 10);
    close_stage();
}

/* Takes one after the other and destroys them, as fast as there are tokens. */
static void use_up(void *arg)
{
    kp_lease lease;

    while (kp_sim_now_ms(the.sim) < 60000) {
        if (kp_get(the.pool, kp_str(arg), NULL, &lease) != 0) return;
        kp_discard(&lease);
    }
}

/* However long others have used up all tokens, and had keys looked at for that. */
static void after_a_long_lack_the_background_must_come_as_soon_as_there_are_tokens(void **state)
{
    static const char *const others[] = { "b", "b", "c" };
    kp_stats a;

    (void)state;
    open_stage((kp_options){ .limits = { .min_live = 2, .refill = KP_REFILL_EAGER },
                             .budget = { .create_rate = 10, .create_burst = 1 } },
               NULL);
    kp_lease lease = take("a");
    kp_sim_pass_ms(the.sim, 1000);
    for (int i = 0; i < 3; i++)
        assert_true(kp_sim_spawn(the.sim, use_up, (void *)(uintptr_t)others[i]) > 0);
    kp_sim_pass_ms(the.sim, 58000);
    kp_discard(&lease);
    assert_int_equal(kp_evict(the.pool, kp_str("a"), KP_NONE), 1);
    kp_sim_join(the.sim, 0);
    kp_sim_pass_ms(the.sim, 1000); /* two each for three keys, at ten per second */
    assert_int_equal(kp_stats_read(the.pool, kp_str("a"), &a), 0);
    assert_int_equal(a.idle, 2);
    close_stage();
}

static void who_warms_and_waits_must_come_for_each_token(void **state)
{
    kp_key keys[3] = { kp_str("a"), kp_str("b"), kp_str("c") };

    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 10, .create_burst = 1 } }, NULL);
    assert_int_equal(kp_warm(the.pool, keys, 3, KP_IN_MS(150)), 2);
    assert_int_equal(kp_sim_now_ms(the.sim), 150);
    assert_int_equal(kp_warm(the.pool, keys, 3, KP_IN_MS(150)), 3);
    assert_int_equal(kp_sim_now_ms(the.sim), 200);
    close_stage();
}

static void the_state_of_the_line_must_be_told(void **state)
{
    char text[500];

    (void)state;
    open_stage((kp_options){ .budget = { .create_rate = 2, .create_burst = 1 } }, NULL);
    (void)kp_explain(the.pool, KP_EVERY_KEY, text, sizeof text);
    assert_null(strstr(text, "token"));
    kp_lease lease = take("a");
    kp_sim_pass_ms(the.sim, 100);
    (void)kp_explain(the.pool, KP_EVERY_KEY, text, sizeof text);
    assert_non_null(strstr(text, "no creation token for 400 ms (budget.create_rate)"));
    kp_release(&lease);
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creations_must_follow_the_line_and_nobody_wait_past_its_deadline),
        cmocka_unit_test(after_a_calm_no_more_than_the_burst_must_begin_at_once),
        cmocka_unit_test(only_creations_must_need_tokens),
        cmocka_unit_test(out_of_memory_must_give_the_token_back),
        cmocka_unit_test(the_background_must_keep_to_the_line_behind_requests),
        cmocka_unit_test(
            after_a_long_lack_the_background_must_come_as_soon_as_there_are_tokens),
        cmocka_unit_test(who_warms_and_waits_must_come_for_each_token),
        cmocka_unit_test(the_state_of_the_line_must_be_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
