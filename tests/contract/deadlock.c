/* SPDX-License-Identifier: MIT
 *
 * Deadlocks of nested gets, across keys and pools: the thread that closes the circle is told, at
 * once and in words; nothing is reported while a get may still be served.
 */
#include "deadlock.h"

#define C kp_str("c")

/* A task that gets one key, waits at a gate, gets another, and gives both back. */
struct nest {
    contract *c;
    kp_pool *pool[2];                   /* NULL: the contract's */
    kp_key key[2];
    const char *tag;
    int64_t within_ms;
    kp_gate between;
    /* ---- */
    int rc;
    kp_why why;
    int64_t ended_ms;
};

static kp_ask ask_of(struct nest *n)
{
    return (kp_ask){ .within_ms = n->within_ms, .tag = n->tag, .why = &n->why };
}

static void nest(void *arg)
{
    struct nest *n = arg;
    kp_pool *first = n->pool[0] ? n->pool[0] : n->c->pool;
    kp_pool *second = n->pool[1] ? n->pool[1] : n->c->pool;
    kp_ask ask = ask_of(n);
    kp_lease one, two;

    if (kp_get(first, n->key[0], &ask, &one) != 0) contract_broken(n->c, "%s: first", n->tag);
    kp_gate_pass(n->c->sim, &n->between);
    n->rc = kp_get(second, n->key[1], &ask, &two);
    n->ended_ms = kp_sim_now_ms(n->c->sim);
    kp_release(&two);
    kp_release(&one);
}

static void go(contract *c, struct nest *n)
{
    n->c = c;
    if (!n->within_ms) n->within_ms = KP_SECONDS(10);
    assert_true(kp_sim_spawn(c->sim, nest, n) > 0);
    (void)kp_sim_settle(c->sim);
}

static void pass(contract *c, struct nest *n)
{
    kp_gate_open(c->sim, &n->between);
    (void)kp_sim_settle(c->sim);
    contract_check(c);
}

/* ---- told ------------------------------------------------------------------------------------ */

static void who_closes_the_circle_must_be_refused_in_words_and_the_others_go_on(void **state)
{
    contract c;
    struct nest audit = { .key = { A, B }, .tag = "audit" };
    struct nest pay = { .key = { B, A }, .tag = "pay" };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    go(&c, &audit);
    go(&c, &pay);
    pass(&c, &audit);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).waiting, 1);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
    pass(&c, &pay);
    assert_int_equal(pay.rc, KP_EDEADLK);
    assert_int_equal(pay.ended_ms, 0);
    assert_int_equal(pay.why.code, KP_EDEADLK);
    assert_string_equal(pay.why.text,
                        "deadlock: you wait for a, lent to audit, who waits for b, lent to you");
    assert_string_equal(pay.why.limit, "max_live");
    assert_string_equal(told, pay.why.text);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 1);
    assert_int_equal(audit.rc, 0);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).refusals, 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).leases, 0);
    contract_end(&c);
}

static void a_report_must_come_once_and_change_nothing(void **state)
{
    contract c;
    struct nest audit = { .key = { A, B }, .tag = "audit", .within_ms = KP_SECONDS(3) };
    struct nest pay = { .key = { B, A }, .tag = "pay" };
    (void)state;
    begin(&c, KP_DEADLOCK_REPORT);
    contract_open(&c);
    go(&c, &audit);
    go(&c, &pay);
    pass(&c, &audit);
    pass(&c, &pay);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 1);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).waiting, 2);
    kp_sim_join(c.sim, 0);
    assert_int_equal(audit.rc, KP_ETIMEDOUT);
    assert_int_equal(audit.ended_ms, KP_SECONDS(3));
    assert_int_equal(pay.rc, 0);                /* because the one that gave up gave back */
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 1);
    contract_end(&c);
}

static void waiting_for_what_one_holds_oneself_must_be_told(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    kp_why why = contract_refused(&c, A, KP_SECONDS(5), KP_EDEADLK);
    assert_string_equal(why.text, "deadlock: you wait for a, lent to you");
    assert_int_equal(kp_sim_now_ms(c.sim), 0);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void a_circle_over_two_pools_must_be_told(void **state)
{
    contract c, other;
    kp_driver driver;
    struct nest one = { .key = { A, B }, .tag = "one" }, two = { .key = { B, A }, .tag = "two" };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    other = c;
    assert_int_equal(kp_cast_open(&c.script, &other.cast), 0);
    driver = kp_cast_driver(other.cast);
    contract_open_driver(&other, &driver);
    one.pool[1] = two.pool[0] = other.pool;
    go(&c, &one);
    go(&c, &two);
    pass(&c, &one);
    pass(&c, &two);
    assert_int_equal(two.rc, KP_EDEADLK);
    assert_non_null(strstr(two.why.text, "you wait for a, lent to one, who waits for b"));
    assert_int_equal(one.rc, 0);
    assert_int_equal(kp_pool_close(other.pool, KP_CLOSE_NOW, 0), 0);
    kp_cast_close(other.cast);
    contract_end(&c);
}

/* Two of the whole pool's two, and each wants a third. */
static void a_budget_over_all_keys_must_count(void **state)
{
    static const char *const budgets[] = { "budget.max_live", "budget.max_lent",
                                           "budget.group_max_live[0]",
                                           "budget.group_max_live[1]" };
    (void)state;
    for (int i = 0; i < 4; i++) {
        contract c;
        struct nest one = { .key = { A, C } }, two = { .key = { B, C } };
        begin(&c, KP_DEADLOCK_REFUSE);
        contract_set(&c, budgets[i], "2");
        c.options.limits.group[0] = c.options.limits.group[1] = 7;
        contract_open(&c);
        go(&c, &one);
        go(&c, &two);
        pass(&c, &one);
        pass(&c, &two);
        assert_int_equal(two.rc, KP_EDEADLK);
        assert_string_equal(two.why.text, "deadlock: you wait for room for c, lent to another "
                                          "borrower, who waits for room for c, lent to you");
        assert_int_equal(one.rc, 0);
        contract_end(&c);
    }
}

/* A resource is idle, but one lease is all that the key may have. */
static void a_limit_on_leases_must_count_though_something_is_idle(void **state)
{
    const kp_limits one = { .max_lent = 1 };
    contract c;
    kp_lease lease[2];
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.max_live = 5;
    contract_open(&c);
    contract_take_all(&c, A, lease, 2);
    contract_give(&c, &lease[1]);
    assert_int_equal(kp_limits_set(c.pool, A, &one, NULL), 0);
    kp_why why = contract_refused(&c, A, KP_SECONDS(5), KP_EDEADLK);
    assert_string_equal(why.limit, "max_lent");
    assert_string_equal(why.text, "deadlock: you wait for a, lent to you");
    contract_give(&c, &lease[0]);
    contract_end(&c);
}

/* Is each character of UTF-8 there to its last byte? */
static bool is_whole(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        for (int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0; more > 0; more--)
            if ((*++text & 0xc0) != 0x80) return false;
    }
    return true;
}

/* All borrowers have this tag. */
static void play_a_long_way(const char *tag)
{
    enum { MANY = 12 };
    static const char keys[MANY][2] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
                                        "l" };
    contract c;
    struct nest ring[MANY] = { { .c = NULL } };
    begin(&c, KP_DEADLOCK_REFUSE);
    contract_open(&c);
    for (int i = 0; i < MANY; i++) {
        ring[i].key[0] = kp_str(keys[i]);
        ring[i].key[1] = kp_str(keys[(i + 1) % MANY]);
        ring[i].tag = tag;
        go(&c, &ring[i]);
    }
    for (int i = 0; i < MANY; i++) pass(&c, &ring[i]);
    assert_int_equal(ring[MANY - 1].rc, KP_EDEADLK);
    for (int i = 0; i < MANY - 1; i++) assert_int_equal(ring[i].rc, 0);
    contract_end(&c);
}

static void a_long_way_must_be_cut(void **state)
{
    (void)state;
    play_a_long_way("x");
    assert_non_null(strstr(told, "you wait for a, lent to x, who waits for b, lent to x"));
    assert_string_equal(told + strlen(told) - 3, "...");
}

/* Wherever that is in a character of two, three or four bytes. */
static void and_so_after_a_whole_character(void **state)
{
    static const char *const characters[] = { "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x94\x91" };
    char tag[400];
    (void)state;
    for (int i = 0; i < 12; i++) {
        memset(tag, 'x', (size_t)(i % 4));
        tag[i % 4] = 0;
        while (strlen(tag) < sizeof tag - 5) strcat(tag, characters[i / 4]);
        play_a_long_way(tag);
        assert_true(is_whole(told));
        assert_string_equal(told + strlen(told) - 3, "...");
    }
}

/* The listener itself gets something, and waits for what its own thread holds: a deadlock, too. */
static void listen_and_get(const kp_event *event, void *arg)
{
    contract *c = arg;
    kp_lease lease;

    listen(event, arg);
    if (event->kind != KP_EVENT_DEADLOCK || c->events[KP_EVENT_DEADLOCK] > 1) return;
    if (kp_get(event->pool, C, KP_IN_MS(100), &lease) != 0) contract_broken(c, "C was free");
    kp_release(&lease);
    if (kp_get(event->pool, A, KP_IN_MS(100), &lease) != KP_ETIMEDOUT) contract_broken(c, "A");
}

static void who_listens_may_use_the_pool(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, KP_DEADLOCK_REPORT);
    c.options.on_event = listen_and_get;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_ETIMEDOUT);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 2);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(5));
    contract_give(&c, &lease);
    contract_end(&c);
}

/* ---- not told -------------------------------------------------------------------------------- */

static void nobody_must_look_unless_the_options_say_so(void **state)
{
    contract c;
    kp_lease lease;
    (void)state;
    begin(&c, 0);
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_ETIMEDOUT);
    assert_int_equal(kp_sim_now_ms(c.sim), KP_SECONDS(5));
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
    contract_give(&c, &lease);
    contract_end(&c);
}

/* A circle is not enough: of two holders one is awake (Holt's knots). */
static void a_holder_that_is_awake_must_keep_it_from_being_one(void **state)
{
    contract c;
    struct nest one = { .key = { A, B } }, two = { .key = { B, A } }, awake = { .key = { A, C } };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.max_live = 2;
    contract_open(&c);
    kp_lease held;
    (void)contract_take(&c, B, &held);
    go(&c, &one);
    go(&c, &two);
    go(&c, &awake);
    pass(&c, &one);
    pass(&c, &two);
    assert_int_equal(contract_stats(&c, KP_EVERY_KEY).waiting, 2);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
    contract_give(&c, &held);                   /* serves one, which then serves two */
    contract_rest(&c);
    assert_int_equal(one.rc, 0);
    assert_int_equal(two.rc, 0);
    pass(&c, &awake);
    assert_int_equal(awake.rc, 0);
    contract_end(&c);
}

/* The same, until the one that was awake waits for one of them, too. */
static void the_last_holder_to_sleep_must_be_the_one_that_is_told(void **state)
{
    contract c;
    struct nest one = { .key = { A, B } }, two = { .key = { B, A } };
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.max_live = 2;
    contract_open(&c);
    kp_lease a, b;
    (void)contract_take(&c, A, &a);
    (void)contract_take(&c, B, &b);
    go(&c, &one);
    go(&c, &two);
    pass(&c, &one);
    pass(&c, &two);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
    (void)contract_refused(&c, A, KP_SECONDS(1), KP_EDEADLK);
    contract_give(&c, &a);
    contract_give(&c, &b);
    contract_rest(&c);
    assert_int_equal(one.rc, 0);
    assert_int_equal(two.rc, 0);
    contract_end(&c);
}

/* What is being made or destroyed, or idle elsewhere, or kept for long waits, may serve it; so may
 * a holder that is not known to be a sleeping thread. */
static void what_is_under_way_must_keep_it_from_being_one(void **state)
{
    static const kp_line slowly[] = { { .takes_ms = 700, .times = KP_OFF }, { 0 } };
    contract c;
    kp_lease lease, other;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.max_live = 2;
    c.options.limits.max_creating = 1;
    c.script.create = slowly;
    c.script.destroy = slowly;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    getter g;
    contract_start_as(&c, &g, 1, (getter){ .key = A, .hold_ms = 10 });
    (void)kp_sim_settle(c.sim);
    assert_int_equal(contract_stats(&c, A).creating, 1);
    (void)contract_take(&c, A, &other);         /* from the getter, that made it and gave it back */
    contract_rest(&c);
    assert_int_equal(kp_invalidate(c.pool, other.resource), 1);
    kp_release(&other);                         /* being destroyed */
    (void)contract_take(&c, A, &other);
    contract_give(&c, &other);
    contract_give(&c, &lease);
    assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
    contract_end(&c);
}

static void as_they_are(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)limits, (void)ctx;
}

static void room_in_reserve_must_keep_it_from_being_one(void **state)
{
    contract c;
    kp_lease lease, other;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits.reserve = 1;
    c.options.limits_for = as_they_are;         /* live may pass max_live */
    c.options.limits.reserve_after_ms = 2000;
    contract_open(&c);
    (void)contract_take(&c, A, &lease);
    (void)contract_take(&c, A, &other);
    assert_int_equal(kp_sim_now_ms(c.sim), 2000);
    (void)contract_refused(&c, A, KP_SECONDS(5), KP_EDEADLK); /* that was all of it */
    contract_give(&c, &other);
    contract_give(&c, &lease);
    contract_end(&c);
}

static void keep_one_of_b(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->floor = *(const char *)key.data == 'b';
}

static void an_idle_one_that_is_kept_elsewhere_must_keep_it_from_being_one(void **state)
{
    contract c;
    kp_lease a, b;
    (void)state;
    begin(&c, KP_DEADLOCK_REFUSE);
    c.options.limits_for = keep_one_of_b;
    c.options.limits.idle_ttl_ms = 1500;
    contract_set(&c, "budget.max_live", "2");
    contract_open(&c);
    (void)contract_take(&c, B, &b);
    contract_give(&c, &b);
    (void)contract_take(&c, A, &a);
    (void)contract_take(&c, C, &b);             /* when b's has expired */
    assert_int_equal(kp_sim_now_ms(c.sim), 1500);
    contract_give(&c, &b);
    contract_give(&c, &a);
    contract_rest(&c);
    contract_end(&c);
}

/* To ask for one only if it is there is the way out of deadlocks. */
static void who_does_not_wait_is_in_no_deadlock(void **state)
{
    (void)state;
    for (int strict = 0; strict < 2; strict++) {
        contract c;
        kp_lease lease;
        begin(&c, strict ? KP_DEADLOCK_REFUSE : KP_DEADLOCK_REPORT);
        contract_open(&c);
        (void)contract_take(&c, A, &lease);
        (void)contract_refused(&c, A, KP_NONE, KP_EAGAIN);
        assert_int_equal(c.events[KP_EVENT_DEADLOCK], 0);
        contract_give(&c, &lease);
        contract_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_closes_the_circle_must_be_refused_in_words_and_the_others_go_on),
        cmocka_unit_test(a_report_must_come_once_and_change_nothing),
        cmocka_unit_test(waiting_for_what_one_holds_oneself_must_be_told),
        cmocka_unit_test(a_circle_over_two_pools_must_be_told),
        cmocka_unit_test(a_budget_over_all_keys_must_count),
        cmocka_unit_test(a_limit_on_leases_must_count_though_something_is_idle),
        cmocka_unit_test(a_long_way_must_be_cut),
        cmocka_unit_test(and_so_after_a_whole_character),
        cmocka_unit_test(who_listens_may_use_the_pool),
        cmocka_unit_test(nobody_must_look_unless_the_options_say_so),
        cmocka_unit_test(a_holder_that_is_awake_must_keep_it_from_being_one),
        cmocka_unit_test(the_last_holder_to_sleep_must_be_the_one_that_is_told),
        cmocka_unit_test(what_is_under_way_must_keep_it_from_being_one),
        cmocka_unit_test(room_in_reserve_must_keep_it_from_being_one),
        cmocka_unit_test(an_idle_one_that_is_kept_elsewhere_must_keep_it_from_being_one),
        cmocka_unit_test(who_does_not_wait_is_in_no_deadlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
