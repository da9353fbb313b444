/* SPDX-License-Identifier: MIT
 *
 * Memory that runs out (allocation is a function of the world, L12): a session that calls every
 * public function is played again and again. Each time a later allocation fails, alone or with all
 * that follow, until a session reaches its end without a refusal. In each session nothing crashes
 * or leaks, each call either does its work or answers KP_ENOMEM and holds nothing, giving back
 * works all the same (L6), and the pool is usable as soon as there is memory again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

/* ---- the session ---- */

struct session {
    kp_sim  *sim;
    kp_cast *cast, *down;               /* down: its creates fail */
    kp_pool *pool, *structs, *broken;
    int64_t  nth;                       /* which allocation failed, for messages */
    int      refused;                   /* calls that answered KP_ENOMEM */
    int      ran;                       /* finalizers and functions of kp_use that ran */
    int      misuses;
    uint64_t added;                     /* by kp_add: destroyed, but not created, by the cast */
};

struct shard { const char *host; int number; };
static const kp_field shard_fields[] = {
    KP_STR(struct shard, host), KP_INT(struct shard, number), KP_END,
};

static void on_event(const kp_event *event, void *ctx)
{
    struct session *s = ctx;

    if (event->kind == KP_EVENT_MISUSE)
        s->misuses++;
}

/* A call may succeed, or be refused for lack of memory; true if it succeeded. */
#define MAY(s, call) may((s), (call), __LINE__, #call)

static bool may(struct session *s, int rc, int line, const char *what)
{
    if (rc != 0 && rc != KP_ENOMEM)
        fail_msg("line %d, allocation %d: %s: %s", line, (int)s->nth, what, kp_strerror(rc));
    s->refused += rc == KP_ENOMEM;
    return rc == 0;
}

/* A call that needs no memory by its contract. */
#define MUST(s, cond)                                                                        \
    do {                                                                                     \
        if (!(cond))                                                                         \
            fail_msg("line %d, allocation %d: %s", __LINE__, (int)(s)->nth, #cond);           \
    } while (0)

static int made_elsewhere;              /* a resource that the cast does not know */

static void finalize(void *arg)
{
    ((struct session *)arg)->ran++;
}

static int body(kp_lease *lease, void *arg)
{
    (void)lease;
    finalize(arg);
    return 0;
}

static int each(kp_key key, const kp_stats *stats, void *arg)
{
    (void)key, (void)stats;
    ++*(int *)arg;
    return 0;
}

static void open_pools(struct session *s)
{
    kp_options options = { .driver = kp_cast_driver(s->cast), .on_event = on_event, .ctx = s };

    options.world = kp_sim_world(s->sim);
    options.name = "memory runs out";
    options.limits.max_live = 3;
    options.limits.retry_first_ms = KP_NONE;
    if (!MAY(s, kp_pool_open(&options, &s->pool)))
        MUST(s, s->pool == NULL);
    options.key_type.size = sizeof(struct shard);
    options.key_type.fields = shard_fields;
    if (!MAY(s, kp_pool_open(&options, &s->structs)))
        MUST(s, s->structs == NULL);
    options.key_type = (kp_key_type){ 0 };
    options.driver = kp_cast_driver(s->down);
    if (!MAY(s, kp_pool_open(&options, &s->broken)))
        MUST(s, s->broken == NULL);
}

static void borrow(struct session *s)
{
    kp_lease       lease, same;
    kp_lease_about about;

    if (MAY(s, kp_get(s->pool, kp_str("a"), KP_IN_S(1), &lease))) {
        MUST(s, kp_lease_read(&lease, &about) && about.age_ms >= 0);
        MUST(s, kp_lease_of(s->pool, lease.resource, &same) == 0);
        kp_lease_reuse(&lease, true);
        kp_lease_report(&lease, 0);
        kp_release(&lease);
        MUST(s, kp_try_get(s->pool, kp_str("a"), &lease) == 0);
        kp_discard(&lease);
    } else {
        MUST(s, memcmp(&lease, &(kp_lease){ 0 }, sizeof lease) == 0);
    }
    if (MAY(s, kp_get(s->pool, kp_str("b"), KP_ASK(.flags = KP_FRESH), &lease))) {
        MUST(s, kp_invalidate(s->pool, lease.resource) == 1);
        kp_release(&lease);
    }
    MUST(s, kp_invalidate_key(s->pool, kp_str("b")) >= 0);
}

static void borrow_by_struct(struct session *s)
{
    char         host[] = "db1.example";
    struct shard key = { host, 7 };
    kp_lease     lease;

    if (!s->structs)
        return;
    if (MAY(s, kp_get(s->structs, KP_KEY(&key), KP_IN_S(1), &lease))) {
        /* the pool must have copied the text, not the pointer */
        memset(host, 'x', sizeof host - 1);
        kp_release(&lease);
        key.host = "db1.example";
        MUST(s, kp_try_get(s->structs, KP_KEY(&key), &lease) == 0);
        kp_release(&lease);
    }
}

/* There may be no memory to keep a failure for others; its own caller must get all of it. */
static void fail_to_create(struct session *s)
{
    kp_lease lease;
    kp_why   why;
    int      rc;

    for (int i = 0; s->broken && i < 3; i++) {
        rc = kp_get(s->broken, kp_str("x"), KP_ASK(.within_ms = 100, .why = &why), &lease);
        if (rc == KP_ECREATE)
            MUST(s, why.vendor_code == 111 && strstr(why.text, "refused"));
        else
            MUST(s, !MAY(s, rc));
        MUST(s, why.code == rc && lease.resource == NULL);
    }
}

static void pin_add_warm(struct session *s)
{
    kp_key   keys[] = { kp_str("w1"), kp_str("w2") }, pinned;
    kp_lease lease;
    int64_t  warm;
    int      rc;

    if (MAY(s, kp_pin(s->pool, kp_str("pinned"), &pinned))) {
        if (MAY(s, kp_get(s->pool, pinned, NULL, &lease)))
            kp_release(&lease);
        kp_unpin(s->pool, &pinned);
        MUST(s, pinned.size == 0);
    } else {
        MUST(s, pinned.data == NULL && pinned.size == 0);
    }
    MUST(s, kp_warm(s->pool, keys, 2, NULL) >= 0);
    warm = kp_warm(s->pool, keys, 2, KP_IN_S(1));
    MUST(s, warm >= 0 && warm <= 2);
    if (warm < 2)
        s->refused++;

    rc = kp_add(s->pool, kp_str("added"), &made_elsewhere);
    if (MAY(s, rc))
        s->added++;
    else                                /* the pool did not take it */
        MUST(s, kp_invalidate(s->pool, &made_elsewhere) == 0);
}

/* Enough keys and resources that every table and every slab has to grow (base/slab.h: 64). */
static void crowd(struct session *s)
{
    enum { MANY = 72 };
    kp_lease lease[MANY];

    for (int i = 0; i < MANY; i++) {
        char key[] = { 'c', (char)(' ' + i), 0 };

        lease[i] = (kp_lease){ 0 };
        (void)MAY(s, kp_get(s->pool, kp_str(key), KP_IN_S(1), &lease[i]));
    }
    for (int i = 0; i < MANY; i++)
        kp_release(&lease[i]);
}

static void set_limits(struct session *s)
{
    kp_why    why;
    kp_limits more = { .max_live = 4 }, keep = { .min_live = 1, .refill = KP_REFILL_EAGER };
    int       rc = kp_limits_set(s->pool, kp_str("a"), &more, &why);

    if (rc != KP_ENOTFOUND)             /* "a" may never have been made */
        MAY(s, rc);
    MAY(s, kp_limits_set(s->pool, KP_EVERY_KEY, &keep, NULL));
    kp_sim_pass_ms(s->sim, 10);         /* the keeper refills, or reports that it failed */
    keep.min_live = KP_NONE;
    MAY(s, kp_limits_set(s->pool, KP_EVERY_KEY, &keep, NULL));
}

static void scopes(struct session *s)
{
    kp_scope scope = { 0 };
    kp_lease lease;
    int      deferred = 0, before = s->ran;

    for (int i = 0; i < 8; i++) {       /* more than a scope holds by itself */
        char key[] = { 's', (char)('0' + i), 0 };

        if (MAY(s, kp_scope_get(&scope, s->pool, kp_str(key), NULL, &lease)) && i % 2)
            kp_release(&lease);
        if (MAY(s, kp_scope_defer(&scope, finalize, s)))
            deferred++;
    }
    kp_scope_close(&scope);
    MUST(s, s->ran - before == deferred);
    before = s->ran;
    if (MAY(s, kp_use(s->pool, kp_str("u"), NULL, body, s)))
        MUST(s, s->ran - before == 1);
}

static void look(struct session *s)
{
    kp_stats stats;
    char     text[400];
    int      keys = 0;

    MUST(s, kp_stats_read(s->pool, KP_EVERY_KEY, &stats) == 0);
    MUST(s, stats.live == stats.creating + stats.idle + stats.lent + stats.closing);
    MUST(s, stats.lent == 0 && stats.waiting == 0);
    MUST(s, kp_each_key(s->pool, each, &keys) == 0 && keys == (int)stats.keys);
    MUST(s, kp_explain(s->pool, KP_EVERY_KEY, text, sizeof text) > 0);
    MUST(s, kp_key_text(s->pool, kp_str("a"), text, sizeof text) == 1);
    MUST(s, kp_now_ns(s->pool) > 0 && kp_deadline_in(s->pool, 5).ns > 0);
    MUST(s, kp_keep(s->pool) >= -1 && kp_is_pool(s->pool));
}

/* ---- a request that waits while memory is gone ---- */

struct waiter { struct session *s; int rc; bool served; };

static void wait_for_one(void *arg)
{
    struct waiter *w = arg;
    kp_lease       lease;

    w->rc = kp_get(w->s->pool, kp_str("one"), KP_IN_S(5), &lease);
    w->served = w->rc == 0;
    if (w->served)
        kp_release(&lease);
}

static void hand_over(struct session *s)
{
    struct waiter w = { .s = s };
    kp_limits     one = { .max_live = 1 };
    kp_lease      lease;

    if (!MAY(s, kp_get(s->pool, kp_str("one"), NULL, &lease)))
        return;
    if (MAY(s, kp_limits_set(s->pool, kp_str("one"), &one, NULL))) {
        assert_true(kp_sim_spawn(s->sim, wait_for_one, &w) > 0);
        kp_sim_settle(s->sim);
        kp_release(&lease);
        kp_sim_join(s->sim, 0);
        MAY(s, w.rc);
    } else {
        kp_release(&lease);
    }
}

/* With memory again, everything must work again. */
static void must_still_work(struct session *s)
{
    kp_lease a, b, c;

    kp_sim_pass_ms(s->sim, KP_SECONDS(1));
    MUST(s, kp_get(s->pool, kp_str("a"), KP_IN_S(1), &a) == 0);
    MUST(s, kp_get(s->pool, kp_str("a"), KP_IN_S(1), &b) == 0);
    MUST(s, kp_get(s->pool, kp_str("again"), KP_IN_S(1), &c) == 0);
    kp_release(&a);
    kp_discard(&b);
    kp_release(&c);
    look(s);
}

/* One session in which allocation number nth fails. True if no allocation was refused any more. */
static bool play(int64_t nth, bool and_all_after)
{
    /* Every third create is answered later, by the clock. */
    static const kp_line at_once_and_later[] = {
        { .times = 2 }, { .takes_ms = 3 }, { .times = 2 }, { .takes_ms = 3 }, { .times = 2 },
        { .takes_ms = 3, .times = 2 }, { 0 },
    };
    static const kp_line refuses[] = {
        { .status = -1, .vendor_code = 111, .text = "refused", .times = KP_OFF }, { 0 },
    };
    struct session s = { .nth = nth };
    kp_script      script = { .create = at_once_and_later }, down = { .create = refuses };
    kp_sim_memory  memory;
    kp_cast_count  n;

    assert_int_equal(kp_sim_open(1, &s.sim), 0);
    script.sim = down.sim = s.sim;
    assert_int_equal(kp_cast_open(&script, &s.cast), 0);
    assert_int_equal(kp_cast_open(&down, &s.down), 0);
    kp_sim_fail_alloc(s.sim, nth, and_all_after);
    open_pools(&s);
    if (s.pool) {
        borrow(&s);
        borrow_by_struct(&s);
        fail_to_create(&s);
        pin_add_warm(&s);
        crowd(&s);
        set_limits(&s);
        scopes(&s);
        hand_over(&s);
        look(&s);
    }
    memory = kp_sim_memory_read(s.sim);
    kp_sim_fail_alloc(s.sim, 0, false);
    if (s.pool) {
        must_still_work(&s);
        MUST(&s, kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(1)) == 0);
    }
    if (s.structs)
        MUST(&s, kp_pool_close(s.structs, KP_CLOSE_WAIT, KP_SECONDS(1)) == 0);
    if (s.broken)
        MUST(&s, kp_pool_close(s.broken, KP_CLOSE_WAIT, KP_SECONDS(1)) == 0);
    MUST(&s, s.misuses == 0);
    n = kp_cast_read(s.cast);
    MUST(&s, n.creates + s.added == n.destroys && n.destroyed_twice == 0 && n.used_after == 0);
    kp_cast_close(s.cast);
    kp_cast_close(s.down);
    MUST(&s, kp_sim_close(s.sim) == 0);
    if (memory.refused == 0)
        MUST(&s, s.refused == 0);
    return memory.refused == 0;
}

static int64_t play_until_nothing_fails(bool and_all_after)
{
    int64_t nth = 1;

    while (!play(nth, and_all_after)) {
        nth++;
        assert_true(nth < 10000);
    }
    print_message("%d allocations, each failed in turn\n", (int)nth - 1);
    return nth - 1;
}

static void each_allocation_that_fails_alone_must_cost_one_call_and_nothing_else(void **state)
{
    (void)state;
    assert_true(play_until_nothing_fails(false) > 10);
}

static void memory_that_is_gone_for_good_must_leave_a_pool_that_works_when_it_is_back(void **state)
{
    (void)state;
    assert_true(play_until_nothing_fails(true) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_that_fails_alone_must_cost_one_call_and_nothing_else),
        cmocka_unit_test(
            memory_that_is_gone_for_good_must_leave_a_pool_that_works_when_it_is_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
