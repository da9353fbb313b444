/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out in the other scenes (scenes.h plays them): opening, many keys at once,
 * upkeep, scopes, reading statistics. alloc_loop.c has event loops and closing.
 */
#include "faults/scenes.h"

/* ---- opening: the scenes whose pool is not there yet ----------------------------------------- */

static void open_one(void)
{
    (void)MAY(open_it());
}

static void named(kp_options *o)
{
    o->name = "memory runs out";
}

static void refusing(kp_options *o)
{
    o->on_fork = KP_FORK_REFUSE;
}

/* On the real clock, where the library's own threads may serve the pool. */
static void on_life(kp_options *o)
{
    static kp_world world;

    world = (kp_world){ .alloc = scene_alloc, .free = scene_free };
    o->world = &world;
}

static void with_threads(kp_options *o)
{
    on_life(o);
    o->threads = 2;
    o->driver.flags = 0;
}

/* The pool's threads may free their own memory only after the close: it is not counted. */
static void open_and_close(void)
{
    if (MAY(open_it())) MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 1000) == 0);
}

static void open_many(void)
{
    for (int i = 0; i < 70; i++) {
        kp_pool *pool;

        if (MAY(kp_pool_open(&s.options, &pool)))
            MUST(kp_pool_close(pool, KP_CLOSE_NOW, 0) == 0);
    }
}

static void open_loop(void)
{
    kp_loop *loop;

    if (MAY(kp_loop_open(&loop))) MUST(kp_loop_close(loop) == 0);
    else MUST(loop == NULL);
}

static void on_a_loop(kp_options *o)
{
    MUST(kp_loop_open(&s.loop) == 0);
    o->loop = s.loop;
}

/* ---- many at once ---------------------------------------------------------------------------- */

static void pin_one(void)
{
    kp_key pinned;

    if (MAY(kp_pin(s.pool, kp_str("a"), &pinned))) kp_unpin(s.pool, &pinned);
    MUST(pinned.data == NULL && pinned.size == 0);
}

static void one_idle(void)
{
    MUST(get(0, "a") == 0);
    give(0);
}

static void two_idle(void)
{
    stock("a", 2);
}

static void pin_known(void)
{
    kp_key pinned;

    MUST(kp_pin(s.pool, kp_str("a"), &pinned) == 0);
    kp_unpin(s.pool, &pinned);
}

static const kp_key keys[] = { { "a", 1 }, { "b", 1 }, { "c", 1 } };

static void warm_behind(void)
{
    MUST(kp_warm(s.pool, keys, 3, NULL) == 0);
    pass(5000); /* a refill that could not begin looks again */
}

static void warm_and_wait(void)
{
    int64_t n = kp_warm(s.pool, keys, 3, KP_IN_MS(100));

    MUST(n >= 0 && n <= 3);
    if (n < 3) s.enomems++;
}

static void at_least_two(kp_options *o)
{
    o->limits.min_live = 2;
}

static void add_one(void)
{
    if (MAY(kp_add(s.pool, kp_str("a"), &made_here[200]))) s.made++;
    else MUST(kp_invalidate(s.pool, &made_here[200]) == 0); /* the pool did not take it */
}

static void add_to_full(void)
{
    MUST(kp_add(s.pool, kp_str("a"), &made_here[200]) == KP_EFULL);
}

static void invalidate_one(void)
{
    MUST(kp_invalidate(s.pool, &made_here[0]) == 1 && s.unmade == 1);
    MUST(kp_invalidate(s.pool, &s) == 0);
}

static void invalidate_keys(void)
{
    MUST(kp_invalidate_key(s.pool, kp_str("a")) == 2);
    MUST(kp_invalidate_key(s.pool, kp_str("nobody knows")) == 0);
    MUST(kp_invalidate_key(s.pool, KP_EVERY_KEY) == 0 && s.unmade == 2);
}

static void set_for_one(void)
{
    const kp_limits more = { .max_live = 3 };

    (void)MAY(kp_limits_set(s.pool, kp_str("a"), &more, NULL));
}

static void set_for_all(void)
{
    const kp_limits less = { .max_live = 1 };

    (void)MAY(kp_limits_set(s.pool, KP_EVERY_KEY, &less, NULL));
}

static void two_keys(void)
{
    stock("a", 2);
    stock("b", 2);
}

static void grouped(kp_options *o)
{
    o->budget.group_max_live[0] = 3;
}

static void set_a_group(void)
{
    const kp_limits group = { .group = { 9, 0 } };
    kp_why why;

    int rc = kp_limits_set(s.pool, kp_str("a"), &group, &why);
    MUST(why.code == rc);
    (void)MAY(rc);
    (void)MAY(kp_limits_set(s.pool, KP_EVERY_KEY, &group, NULL));
}

static void bounded(kp_options *o)
{
    o->budget.group_max_live[0] = 4;
    o->limits.group[0] = 9;
}

/* It needs no memory: the new budget must be accepted, and take effect. */
static void change_the_budget(void)
{
    const kp_budget less = { .max_live = 3, .max_idle = 2, .group_max_live = { 2 } };
    const kp_budget more = { .max_live = KP_UNLIMITED, .max_idle = KP_UNLIMITED,
                             .group_max_live = { 9 }, .create_rate = 100 };

    MUST(kp_budget_set(s.pool, &less, NULL) == 0 && s.unmade == 2);
    MUST(kp_budget_set(s.pool, &more, NULL) == 0);
}

static void run_down(void)
{
    kp_stats all;

    MUST(kp_evict(s.pool, kp_str("a"), 1) == 1);
    MUST(kp_drop(s.pool, kp_str("b"), 0) == 0);
    MUST(kp_drop(s.pool, KP_EVERY_KEY, 0) == 0 && s.unmade == 4);
    MUST(kp_stats_read(s.pool, KP_EVERY_KEY, &all) == 0 && all.keys == 0);
}

static void set_nonsense(void)
{
    const kp_limits nonsense = { .min_live = 5, .max_live = 1 };
    kp_why why;

    int rc = kp_limits_set(s.pool, kp_str("a"), &nonsense, &why);
    if (rc == KP_ECONFIG) MUST(strstr(why.field, "min_live"));
    else (void)MAY(rc);
    MUST(kp_limits_set(s.pool, kp_str("nobody knows"), &nonsense, &why) != 0);
}

static void serve_by_limits(void)
{
    const kp_limits more = { .max_live = 3 };

    MUST(kp_sim_settle(s.sim) >= 0);
    (void)MAY(kp_limits_set(s.pool, kp_str("a"), &more, NULL));
    kp_sim_join(s.sim, 0);
}

static void get_one_more(void *arg)
{
    s.status = kp_get(s.pool, kp_str("a"), KP_IN_MS(200), arg);
}

static void one_waits(void)
{
    MUST(get(0, "a") == 0 && get(1, "a") == 0);
    MUST(kp_sim_spawn(s.sim, get_one_more, &s.lease[2]) > 0);
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

static void grows_old(kp_options *o)
{
    o->limits.idle_ttl_ms = 100;
    o->forget_key_after_ms = 200;
}

static void let_it_expire(void)
{
    pass(1000);
    MUST(numbers().live == 0 && numbers().keys == 0);
}

static void eager(kp_options *o)
{
    o->limits.min_live = 2;
    o->limits.refill = KP_REFILL_EAGER;
}

static void lose_both(void)
{
    MUST(kp_invalidate_key(s.pool, kp_str("a")) > 0);
    pass(5000);
}

static void warned(kp_options *o)
{
    o->leak_after_ms = 10;
}

static void one_lent(void)
{
    MUST(get(1, "a") == 0);
}

static void leak_it(void)
{
    pass(100);
    MUST(numbers().leaks == 1);
    give(1);
}

static void by_hand(kp_options *o)
{
    eager(o);
    o->threads = KP_NONE;
}

static void keep_it(void)
{
    MUST(kp_invalidate_key(s.pool, kp_str("a")) > 0);
    for (int i = 0; i < 5; i++) {
        MUST(kp_keep(s.pool) >= -1);
        pass(1000);
    }
}

static void fails_behind(void)
{
    two_idle();
    s.fail_creates = 1;
}

static void renews(kp_options *o)
{
    o->limits.renew_ahead_ms = 3000;
    o->limits.surplus = 2;
}

/* As many as there is memory for: one more would need another allocation. */
static void sixty_four(void)
{
    char key[] = "k0";

    for (; key[1] < '0' + 64; key[1]++) stock(key, 1);
}

static void replace_all(void)
{
    MUST(kp_rotate(s.pool, KP_EVERY_KEY, 2000) == 64);
    pass(1);
    MUST(numbers().live >= 64); /* one without memory for a replacement stays until its time */
    pass(5000);
}

/* ---- scopes and uses ------------------------------------------------------------------------- */

static void count(void *arg)
{
    ++*(int *)arg;
}

static void scope_get(void)
{
    kp_lease lease;

    if (!MAY(kp_scope_get(&s.scope, s.pool, kp_str("a"), KP_IN_MS(100), &lease)))
        MUST(lease.resource == NULL);
    kp_scope_close(&s.scope);
    MUST(numbers().lent == 0);
}

static void scope_many(void)
{
    char key[] = "k0";
    kp_lease lease;

    for (; key[1] < '0' + 40; key[1]++)
        (void)MAY(kp_scope_get(&s.scope, s.pool, kp_str(key), KP_IN_MS(100), &lease));
    kp_scope_close(&s.scope);
    MUST(numbers().lent == 0);
}

static void defer_many(void)
{
    int deferred = 0;

    for (int i = 0; i < 60; i++) deferred += MAY(kp_scope_defer(&s.scope, count, &s.ran));
    kp_scope_close(&s.scope);
    MUST(s.ran == deferred);
}

static int use(kp_lease *lease, void *arg)
{
    count(arg);
    return lease->resource ? 0 : -1;
}

static int fail_first(kp_lease *lease, void *arg)
{
    (void)lease;
    count(arg);
    return s.ran == 1 ? -4 : 0;
}

static bool always(int status, void *arg)
{
    (void)arg;
    return status == -4;
}

static void use_one(void)
{
    if (MAY(kp_use(s.pool, kp_str("a"), NULL, use, &s.ran))) MUST(s.ran == 1);
}

static void use_twice(void)
{
    const kp_plan plan = { .ask = { .within_ms = 1000 }, .schedule = { .times = 1, .first_ms = 10 },
                           .retry_if = always, .on_error = KP_DESTROY };

    if (MAY(kp_use(s.pool, kp_str("a"), &plan, fail_first, &s.ran))) MUST(s.ran == 2);
}

static void use_a_fallback(void)
{
    const kp_plan plan = { .ask = { .within_ms = 100 }, .fallback = keys, .fallbacks = 1 };

    s.fail_creates = 1;
    int rc = kp_use(s.pool, kp_str("broken"), &plan, use, &s.ran);
    s.fail_creates = 0;
    if (rc != KP_ECREATE) (void)MAY(rc);
}

/* ---- looking: none of it needs memory -------------------------------------------------------- */

static int each(kp_key key, const kp_stats *stats, void *arg)
{
    (void)key, (void)stats;
    count(arg);
    return 0;
}

static void look(void)
{
    kp_stats n;
    char text[400];

    MUST(kp_stats_read(s.pool, kp_str("a"), &n) == 0 && n.idle == 2);
    MUST(kp_stats_read(s.pool, kp_str("nobody knows"), &n) == KP_ENOTFOUND);
    MUST(kp_each_key(s.pool, each, &s.ran) == 0 && s.ran == 1);
    MUST(kp_explain(s.pool, KP_EVERY_KEY, text, sizeof text) > 0);
    MUST(kp_explain(s.pool, kp_str("a"), text, sizeof text) > 0);
    MUST(kp_key_text(s.pool, kp_str("a"), text, sizeof text) == 1);
    MUST(kp_now_ns(s.pool) > 0 && kp_deadline_in(s.pool, 5).ns > 0 && kp_is_pool(s.pool));
    MUST(memory.asked == 0);
}

static const scene scenes[] = {
    { "open", NULL, NULL, open_one, true },
    { "open, with a name", named, NULL, open_one, true },
    { "open, refusing children", refusing, NULL, open_one, true },
    { "open on life", on_life, NULL, open_and_close, true },
    { "open, on a loop", on_a_loop, NULL, open_and_close, true },
    { "open many", NULL, NULL, open_many, true },
    { "loop_open", NULL, NULL, open_loop, false },
    { "pin", NULL, NULL, pin_one, false },
    { "pin, a known key", NULL, one_idle, pin_known, false },
    { "warm in the background", NULL, NULL, warm_behind, false },
    { "warm and wait", NULL, NULL, warm_and_wait, false },
    { "warm to a minimum", at_least_two, NULL, warm_and_wait, false },
    { "add", NULL, NULL, add_one, false },
    { "add, a known key", NULL, one_idle, add_one, false },
    { "add, a full key", NULL, two_idle, add_to_full, false },
    { "invalidate", NULL, two_idle, invalidate_one, false },
    { "invalidate_key", NULL, two_idle, invalidate_keys, false },
    { "limits_set, a key", NULL, one_idle, set_for_one, false },
    { "limits_set, every key", NULL, two_keys, set_for_all, false },
    { "limits_set, a group", grouped, two_keys, set_a_group, false },
    { "budget_set", bounded, two_keys, change_the_budget, false },
    { "evict and drop", NULL, two_keys, run_down, false },
    { "limits_set, nonsense", NULL, one_idle, set_nonsense, false },
    { "limits_set, one waits", NULL, one_waits, serve_by_limits, false },
    { "expire and forget", grows_old, two_keys, let_it_expire, false },
    { "refill", eager, two_idle, lose_both, false },
    { "refill fails", eager, fails_behind, lose_both, false },
    { "refill by kp_keep", by_hand, two_idle, keep_it, false },
    { "rotate", renews, sixty_four, replace_all, false },
    { "leak report", warned, one_lent, leak_it, false },
    { "scope_get", NULL, NULL, scope_get, false },
    { "scope_get, many", NULL, NULL, scope_many, false },
    { "scope_defer, many", NULL, NULL, defer_many, false },
    { "use", NULL, NULL, use_one, false },
    { "use, retried", NULL, NULL, use_twice, false },
    { "use, a fallback", NULL, NULL, use_a_fallback, false },
    { "look", NULL, two_idle, look, false },
};

enum { SCENES = sizeof scenes / sizeof scenes[0] };

static void an_allocation_that_fails_alone_must_cost_one_call_at_most(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, false) > 100);
}

static void without_memory_all_must_be_refused_or_go_well(void **state)
{
    (void)state;
    assert_true(play_all(scenes, SCENES, true) > 100);
}

/* On real threads, so only once for each allocation: nothing may leak or hang. */
static void a_pool_with_threads_must_open_whole_or_not_at_all(void **state)
{
    static const scene threads = { "open, with threads", with_threads, NULL, open_and_close, true };

    (void)state;
    assert_true(play_out(&threads, false) > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_that_fails_alone_must_cost_one_call_at_most),
        cmocka_unit_test(without_memory_all_must_be_refused_or_go_well),
        cmocka_unit_test(a_pool_with_threads_must_open_whole_or_not_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
