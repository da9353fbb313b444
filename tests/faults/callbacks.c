/* SPDX-License-Identifier: MIT
 *
 * Every function that a pool calls, times everything that it may do there: call each of the pool's
 * own functions, on the same key, on another one and on all of them; close the pool in each mode;
 * block; fail. contract/hard_4.c (H19) has driver functions that do several of these; here each
 * thing is done alone, in every function and at every kind of event.
 */
#include "faults/callbacks.h"

/* ---- what is done in there ------------------------------------------------------------------- */

static kp_lease borrow(const char *key)
{
    struct name name = { "" };
    kp_lease lease;

    snprintf(name.text, sizeof name.text, "%s", key);
    (void)!kp_get(l.pool, KP_KEY(&name), KP_IN_MS(10), &lease);
    return lease;
}

static void get_same(void)
{
    kp_lease lease = borrow("a");

    kp_release(&lease);
}

static void discard_same(void)
{
    kp_lease lease = borrow("a");

    kp_discard(&lease);
}

static void get_another(void)
{
    kp_lease lease = borrow("other");

    kp_release(&lease);
}

static void get_a_new_one(void)
{
    struct name name = { "" };
    kp_lease lease;

    snprintf(name.text, sizeof name.text, "new %d", l.acted);
    (void)!kp_get(l.pool, KP_KEY(&name), KP_ASK(.within_ms = 10, .flags = KP_FRESH), &lease);
    kp_discard(&lease);
}

static void invalidate_this(void)
{
    (void)kp_invalidate(l.pool, l.resource);
}

static void invalidate_same(void)
{
    (void)kp_invalidate_key(l.pool, K("a"));
}

static void invalidate_all(void)
{
    (void)kp_invalidate_key(l.pool, KP_EVERY_KEY);
}

static void warm_two(void)
{
    const kp_key keys[] = { K("a"), K("other") };

    (void)kp_warm(l.pool, keys, 2, KP_IN_MS(10));
    (void)kp_warm(l.pool, keys, 2, NULL);
}

/* A resource that kp_add did not take is still the caller's. */
static void add_one(void)
{
    int *one = &made_here[l.made % 64];

    if (kp_add(l.pool, K("added"), one) == 0) l.made++;
}

static void change_limits(void)
{
    const kp_limits more = { .max_live = 5 };

    (void)!kp_limits_set(l.pool, K("a"), &more, NULL);
    (void)!kp_limits_set(l.pool, KP_EVERY_KEY, &more, NULL);
    (void)kp_retry_now(l.pool, K("a"));
    (void)kp_retry_now(l.pool, KP_EVERY_KEY);
    (void)kp_rotate(l.pool, K("a"), KP_NONE);
    (void)kp_rotate(l.pool, KP_EVERY_KEY, 100);
}

/* More of everything, and a rate that is never reached here. */
static void change_the_budget(void)
{
    const kp_budget more = { .max_live = 50, .max_lent = 50, .max_idle = 50, .create_rate = 1000 };
    const kp_budget none = { .create_rate = KP_UNLIMITED, .max_live = KP_UNLIMITED };

    (void)!kp_budget_set(l.pool, &more, NULL);
    (void)!kp_budget_set(l.pool, &none, NULL);
}

static void run_down(void)
{
    (void)kp_evict(l.pool, K("a"), 1);
    (void)kp_evict(l.pool, KP_EVERY_KEY, 0);
    (void)!kp_drop(l.pool, K("a"), KP_NONE);
    (void)!kp_drop(l.pool, KP_EVERY_KEY, KP_NONE);
}

static void pin_and_unpin(void)
{
    kp_key pinned;

    if (kp_pin(l.pool, K("a"), &pinned) == 0) kp_unpin(l.pool, &pinned);
}

static void keep(void)
{
    (void)kp_keep(l.pool);
}

static void look(void)
{
    kp_stats s;
    kp_lease lease;
    char text[200];

    (void)!kp_stats_read(l.pool, KP_EVERY_KEY, &s);
    (void)!kp_stats_read(l.pool, K("a"), &s);
    (void)kp_each_key(l.pool, each, NULL);
    (void)kp_explain(l.pool, K("a"), text, sizeof text);
    (void)kp_key_text(l.pool, K("a"), text, sizeof text);
    (void)!kp_lease_of(l.pool, l.resource, &lease);
    (void)kp_is_pool(l.pool);
    (void)kp_deadline_in(l.pool, 1);
}

static int count_one(kp_lease *lease, void *arg)
{
    (void)lease;
    ++*(int *)arg;
    return 0;
}

static void scope_and_use(void)
{
    kp_scope scope = { 0 };
    kp_lease lease;
    int n = 0;

    (void)!kp_scope_get(&scope, l.pool, K("a"), KP_IN_MS(10), &lease);
    (void)!kp_scope_get(&scope, l.pool, K("other"), KP_IN_MS(10), &lease);
    kp_scope_close(&scope);
    (void)!kp_use(l.pool, K("a"), &(kp_plan){ .ask = { .within_ms = 10 } }, count_one, &n);
}

static void another_pool(void)
{
    kp_options options = { .driver = { .create = create, .destroy = destroy } };
    kp_pool *pool;
    kp_lease lease;

    options.world = kp_sim_world(l.sim);
    options.threads = KP_NONE;
    if (kp_pool_open(&options, &pool) != 0) return;
    (void)!kp_get(pool, kp_str("a"), KP_IN_MS(10), &lease);
    kp_release(&lease);
    (void)kp_pool_close(pool, KP_CLOSE_WAIT, 10);
}

static void start_and_cancel(void)
{
    kp_request request = { .loop = l.loop, .done = done };

    if (l.loop && kp_get_start(l.pool, K("a"), NULL, &request) == 0) kp_cancel(&request);
}

static void another_loop(void)
{
    kp_loop *loop;

    if (kp_loop_open(&loop) != 0) return;
    kp_request request = { .loop = loop, .done = done };
    if (kp_get_start(l.pool, K("other"), NULL, &request) == 0) (void)kp_loop_dispatch(loop);
    (void)kp_loop_close(loop);
}

static void be_slow(void)
{
    const kp_world *world = kp_sim_world(l.sim);
    uint64_t until = world->now_ns(world->ctx) + 20000000;
    uint32_t word = 0;

    while (world->now_ns(world->ctx) < until) world->park(&word, 0, until, world->ctx);
}

static void close_now(void)
{
    (void)kp_pool_close(l.pool, KP_CLOSE_NOW, 0);
}

static void close_and_wait(void)
{
    (void)kp_pool_close(l.pool, KP_CLOSE_WAIT, 10);
}

static void close_and_drain(void)
{
    (void)kp_pool_close(l.pool, KP_CLOSE_DRAIN, 10);
}

static void give_this_back(void)
{
    kp_lease lease;

    if (kp_lease_of(l.pool, l.resource, &lease) == 0) kp_release(&lease);
}

static void discard_this(void)
{
    kp_lease lease;

    if (kp_lease_of(l.pool, l.resource, &lease) == 0) kp_discard(&lease);
}

static const struct thing {
    const char *name;
    void (*act)(void);
    int times;      /* how often it is done, at most */
    bool disturbs;  /* other calls of the life may get other answers */
} deeds[] = {
    { "get and release, the same key", get_same, 100, true },
    { "get and discard, the same key", discard_same, 100, true },
    { "get and release, another key", get_another, 100, true },
    { "get a fresh one of a new key", get_a_new_one, 20, true },
    { "invalidate this very resource", invalidate_this, 100, true },
    { "give this very resource back", give_this_back, 100, true },
    { "discard this very resource", discard_this, 100, true },
    { "invalidate the same key", invalidate_same, 100, true },
    { "invalidate every key", invalidate_all, 100, true },
    { "warm", warm_two, 100, true },
    { "add", add_one, 20, true },
    { "change limits", change_limits, 100, true },
    { "change the budget", change_the_budget, 100, true },
    { "evict and drop", run_down, 20, true },
    { "pin and unpin", pin_and_unpin, 100, true },
    { "keep", keep, 100, true },
    { "look at everything", look, 100, false },
    { "scope and use", scope_and_use, 100, true },
    { "open and close another pool", another_pool, 20, true },
    { "start and cancel a request", start_and_cancel, 100, true },
    { "open, use and close a loop", another_loop, 100, true },
    { "be slow", be_slow, 3, true },
    { "close NOW", close_now, 1, true },
    { "close WAIT", close_and_wait, 1, true },
    { "close DRAIN", close_and_drain, 1, true },
};

enum { DEEDS = sizeof deeds / sizeof deeds[0] };

/* ---- all of it ------------------------------------------------------------------------------- */

static void nothing(void) { }

static char cell[100]; /* the one that was played last */

static int say_which(void **state)
{
    (void)state;
    print_message("the last one: %s\n", cell);
    return 0;
}

static void play(int where, const char *what, void (*deed)(void), int times, bool disturbs)
{
    snprintf(cell, sizeof cell, "%s / %s", wheres[where], what);
    be_born((enum where)where, deed, times, disturbs);
    l.steals = deed == give_this_back || deed == discard_this;
    live();
    die();
}

static void every_function_must_have_its_turn_and_undisturbed_all_must_go_as_it_says(void **state)
{
    (void)state;
    for (int w = IN_NOTHING; w < WHERES; w++) {
        if (w == IN_EVENT) continue;
        play(w, "nothing", nothing, 1, false);
        if (w != IN_NOTHING) assert_int_equal(l.acted, 1);
    }
}

/* L3, B-CB-13 */
static void every_function_must_be_free_to_do_everything(void **state)
{
    int cells = 0;

    (void)state;
    for (int w = IN_CREATE; w < WHERES; w++) {
        if (w == IN_EVENT) continue;
        for (int d = 0; d < DEEDS; d++, cells++)
            play(w, deeds[d].name, deeds[d].act, deeds[d].times, deeds[d].disturbs);
    }
    print_message("%d cells\n", cells);
    assert_int_equal(cells, (WHERES - 2) * DEEDS);
}

/* ---- blocking -------------------------------------------------------------------------------- */

static kp_gate gate;

static void stand_at_the_gate(void)
{
    kp_gate_pass(l.sim, &gate);
}

static void live_as_a_task(void *arg)
{
    (void)arg;
    live();
}

/* L3: B-CB-08 */
static void a_function_that_blocks_must_hold_up_nobody_else(void **state)
{
    (void)state;
    for (int w = IN_CREATE; w < WHERES; w++) {
        if (w == IN_EVENT || w == IN_DROP_CTX) continue; /* no other caller is left then */
        snprintf(cell, sizeof cell, "%s / block", wheres[w]);
        gate = (kp_gate){ 0 };
        be_born((enum where)w, stand_at_the_gate, 1, true);
        assert_true(kp_sim_spawn(l.sim, live_as_a_task, NULL) > 0);
        for (int i = 0; i < 100000 && !gate.entered; i++) kp_sim_pass_ms(l.sim, 1);
        assert_int_equal(gate.entered, 1);
        int64_t now = kp_sim_now_ms(l.sim);
        for (int i = 0; i < 10; i++) {
            kp_lease lease;

            assert_int_equal(kp_get(l.pool, K("elsewhere"), KP_IN_S(1), &lease), 0);
            if (i % 2) kp_discard(&lease);
            else kp_release(&lease);
        }
        look();
        assert_int_equal(kp_sim_now_ms(l.sim), now);
        kp_gate_open(l.sim, &gate);
        kp_sim_join(l.sim, 0);
        die();
    }
}

/* ---- failing --------------------------------------------------------------------------------- */

static kp_stats numbers(void)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(l.pool, KP_EVERY_KEY, &s), 0);
    return s;
}

static void a_copy_that_fails_must_fail_its_get_for_want_of_memory_and_leave_no_key(void **state)
{
    kp_lease lease;

    (void)state;
    be_born(IN_NOTHING, nothing, 0, false);
    l.fail_copies = 1;
    assert_int_equal(kp_get(l.pool, K("a"), NULL, &lease), KP_ENOMEM);
    assert_null(lease.resource);
    assert_int_equal(numbers().keys, 0);
    assert_int_equal(l.copied + l.dropped + l.made, 0);
    assert_int_equal(kp_get(l.pool, K("a"), NULL, &lease), 0);
    kp_discard(&lease);
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_WAIT, 1000), 0);
    assert_int_equal(kp_sim_close(l.sim), 0);
}

static void a_reset_that_fails_must_cost_its_resource_and_nothing_else(void **state)
{
    kp_lease lease;

    (void)state;
    be_born(IN_NOTHING, nothing, 0, false);
    assert_int_equal(kp_get(l.pool, K("a"), NULL, &lease), 0);
    l.fail_resets = 1;
    kp_release(&lease);
    assert_int_equal(l.unmade, 1);
    assert_int_equal(numbers().invalid, 1);
    assert_int_equal(numbers().live, 0);
    assert_int_equal(kp_get(l.pool, K("a"), NULL, &lease), 0);
    kp_release(&lease);
    assert_int_equal(numbers().idle, 1);
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_WAIT, 1000), 0);
    assert_int_equal(kp_sim_close(l.sim), 0);
}

/* Every second call fails, whatever function it is; nothing is lost. */
static void failures_everywhere_must_lose_nothing(void **state)
{
    kp_lease lease[3];
    int got = 0;

    (void)state;
    be_born(IN_NOTHING, nothing, 0, true);
    for (int i = 0; i < 400; i++) {
        struct name name = { "" };
        snprintf(name.text, sizeof name.text, "k%d", i % 7);
        l.fail_creates = i % 2;
        l.fail_validates = i % 3 == 0;
        l.fail_resets = i % 5 == 0;
        l.fail_destroys = i % 4 < 2;
        l.fail_copies = i % 11 == 0;
        for (int j = 0; j < 3; j++)
            got += kp_get(l.pool, KP_KEY(&name), KP_IN_MS(10), &lease[j]) == 0;
        for (int j = 0; j < 3; j++) i % 3 ? kp_release(&lease[j]) : kp_discard(&lease[j]);
        pass(i % 20 * 100);
        kp_stats s = numbers();
        assert_int_equal(s.live, l.made - l.unmade);
        assert_int_equal(s.idle, s.live);
    }
    assert_true(got > 100);
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_WAIT, 1000), 0);
    assert_int_equal(l.copied, l.dropped);
    assert_int_equal(kp_sim_close(l.sim), 0);
}

#define T(test) cmocka_unit_test_teardown(test, say_which)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_function_must_have_its_turn_and_undisturbed_all_must_go_as_it_says),
        T(every_function_must_be_free_to_do_everything),
        T(a_function_that_blocks_must_hold_up_nobody_else),
        cmocka_unit_test(a_copy_that_fails_must_fail_its_get_for_want_of_memory_and_leave_no_key),
        cmocka_unit_test(a_reset_that_fails_must_cost_its_resource_and_nothing_else),
        cmocka_unit_test(failures_everywhere_must_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
