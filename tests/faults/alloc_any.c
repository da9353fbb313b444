/* SPDX-License-Identifier: MIT
 *
 * Memory that comes and goes: some tasks ask a pool for whatever they like, while allocations fail
 * at random, alone or several in a row. Each call returns in its time, with an answer that its
 * contract names. Afterwards there is memory again, and nothing was lost: all that may be lent can
 * be lent, and all that was made is destroyed once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { ROUNDS = 150, TASKS = 3, CALLS = 25, KEYS = 5, LINES = 100, MOST = 4 };
enum { SLACK = 300 }; /* ms that the driver's functions may add to the deadline of a get */

static struct {
    kp_sim *sim;
    kp_world world;
    kp_cast *cast;
    kp_pool *pool;
    kp_line create[LINES], check[LINES];
    int round, ran, adds, misuses;
    uint64_t random, added, enomems;
    int percent, row; /* so many allocations fail; and so many more, one after the other */
    int64_t held, refused;
} s;

#define MUST(cond) ((cond) ? (void)0 : broken(__LINE__, #cond))

static void broken(int line, const char *what) /* on any task, from which cmocka cannot jump */
{
    fprintf(stderr, "round %d: line %d: %s\n", s.round, line, what);
    abort();
}

static int draw(int below)
{
    s.random = s.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((s.random >> 33) % (unsigned)below);
}

static bool chance(int percent)
{
    return draw(100) < percent;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool refuse_this_one(void)
{
    if (s.percent == 0) return false;
    if (s.row > 0) s.row--;
    else if (chance(s.percent)) s.row = draw(3);
    else return false;
    s.refused++;
    return true;
}

/* The library's own allocations. */
int posix_memalign(void **out, size_t align, size_t size)
{
    *out = refuse_this_one() ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
    return *out ? 0 : ENOMEM;
}

static void *take(size_t size, size_t align, void *ctx)
{
    (void)ctx, (void)align; /* at most 64, which chunks need */
    void *p = refuse_this_one() ? NULL : aligned_alloc(64, (size + 63) / 64 * 64);
    s.held += p != NULL;
    return p;
}

static void give(void *p, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    s.held--;
    free(p);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Is it an answer that a call of an open pool may give here? */
static bool may(int64_t rc)
{
    s.enomems += rc == KP_ENOMEM;
    return rc >= 0 || (rc == KP_ENOMEM && s.refused > 0) || rc == KP_ETIMEDOUT ||
           rc == KP_EAGAIN || rc == KP_EFULL || rc == KP_ECREATE || rc == KP_ENOTFOUND;
}

static kp_key some_key(void)
{
    static const char *const keys[KEYS] = {
        "a", "b", "c", "a key that does not lie in its subpool, so that it takes memory of its own",
        "another key of that kind, which is copied to a place that is allocated for it alone"
    };

    return kp_str(keys[draw(KEYS)]);
}

static kp_key some_or_all(void)
{
    return chance(50) ? some_key() : KP_EVERY_KEY;
}

static void borrow(void)
{
    int64_t within = 1 + draw(100), began = kp_sim_now_ms(s.sim);
    uint32_t flags = chance(10) ? KP_FRESH : chance(10) ? KP_DONT_CREATE : 0;
    kp_lease lease;
    kp_why why;

    int rc = kp_get(s.pool, some_key(), KP_ASK(.within_ms = within, .flags = flags, .why = &why),
                    &lease);
    MUST(may(rc) && kp_sim_now_ms(s.sim) - began <= within + SLACK);
    if (rc != 0) {
        MUST(why.code == rc && lease.resource == NULL && lease.opaque[0] == 0);
        return;
    }
    MUST(((kp_prop *)lease.resource)->alive == 1);
    if (chance(60)) kp_sim_pass_ms(s.sim, draw(30));
    if (chance(20)) kp_discard(&lease);
    else kp_release(&lease);
}

static void warm(void)
{
    kp_key keys[] = { some_key(), some_key() };
    int64_t began = kp_sim_now_ms(s.sim);

    MUST(kp_warm(s.pool, keys, 2, chance(50) ? NULL : KP_IN_MS(40)) >= 0);
    MUST(kp_sim_now_ms(s.sim) - began <= 40 + SLACK);
}

static void pin(void)
{
    kp_key pinned;
    int rc = kp_pin(s.pool, some_key(), &pinned);

    MUST(may(rc) && (rc == 0 || pinned.size == 0));
    if (rc == 0) kp_unpin(s.pool, &pinned);
}

static void add(void)
{
    static kp_prop made_elsewhere[TASKS * CALLS];
    kp_prop *prop = &made_elsewhere[s.adds++];

    prop->alive = 1;
    int rc = kp_add(s.pool, some_key(), prop);
    MUST(may(rc));
    s.added += rc == 0;
}

static void set_limits(void)
{
    const kp_limits limits = { .idle_ttl_ms = 20 + draw(500), .group = { 1 + draw(3), 0 } };
    kp_why why;
    int rc = kp_limits_set(s.pool, some_or_all(), &limits, &why);

    MUST(may(rc) && why.code == rc);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

static int body(kp_lease *lease, void *arg)
{
    (void)lease;
    count(arg);
    return 0;
}

static void use(void)
{
    const kp_key other = some_key();
    const kp_plan plan = { .ask = { .within_ms = 100 }, .schedule = { .times = 1, .first_ms = 5 },
                           .fallback = &other, .fallbacks = (size_t)draw(2) };
    int before = s.ran, rc = kp_use(s.pool, some_key(), &plan, body, &s.ran);

    MUST(may(rc) && (rc != 0 || s.ran > before));
}

static void scope(void)
{
    kp_scope scope = { 0 };
    kp_lease lease;
    int ran = 0, deferred = 0;

    for (int i = 0; i < 8; i++) { /* more than a scope holds by itself */
        MUST(may(kp_scope_get(&scope, s.pool, some_key(), KP_IN_MS(5), &lease)));
        deferred += kp_scope_defer(&scope, count, &ran) == 0;
    }
    kp_scope_close(&scope);
    MUST(ran == deferred);
}

static void one_call(void)
{
    switch (draw(20)) {
    case 0: warm(); break;
    case 1: pin(); break;
    case 2: add(); break;
    case 3: set_limits(); break;
    case 4: use(); break;
    case 5: scope(); break;
    case 6: MUST(may(kp_rotate(s.pool, some_or_all(), 1 + draw(50)))); break;
    case 7: MUST(may(kp_drop(s.pool, some_or_all(), 1 + draw(50)))); break;
    case 8: MUST(may(kp_invalidate_key(s.pool, some_or_all()))); break;
    case 9: MUST(may(kp_retry_now(s.pool, some_or_all()))); break;
    case 10: kp_sim_pass_ms(s.sim, draw(200)); break;
    default: borrow();
    }
}

static void work(void *arg)
{
    (void)arg;
    for (int i = 0; i < CALLS; i++) one_call();
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    s.misuses += event->kind == KP_EVENT_MISUSE;
}

static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->group[0] = 1 + (int64_t)key.size % 3;
}

/* What the driver does, one run after the other; then all goes well. */
static void write_script(kp_line *line, int failures)
{
    for (int i = 0; i < LINES - 1; i++)
        line[i] = (kp_line){ .times = 1, .takes_ms = chance(30) ? 1 + draw(20) : 0,
                             .status = chance(failures) ? -1 : 0 };
}

static void open_pool(void)
{
    kp_options o = { .driver = kp_cast_driver(s.cast), .world = &s.world, .on_event = on_event };
    kp_limits *l = &o.limits;

    if (chance(50)) o.driver.flags = KP_NEVER_BLOCKS;
    if (chance(50)) o.limits_for = limits_for;
    if (chance(50)) o.forget_key_after_ms = 50;
    if (chance(30)) o.budget.max_keys = 3;
    o.budget.max_live = MOST;
    o.budget.group_max_live[0] = MOST;
    l->max_live = MOST;
    l->retry_first_ms = chance(50) ? KP_NONE : 5;
    l->retry_max_ms = 50;
    if (chance(40)) l->validate_after_ms = KP_NONE;
    if (chance(40)) l->cache_failure_ms = chance(50) ? KP_ONCE : 20;
    if (chance(30)) l->on_create_failure = KP_FAIL_RETRY;
    if (chance(30)) l->min_idle = 1;
    if (chance(30)) l->sharing = 2;
    if (chance(30)) {
        l->max_age_ms = 200;
        l->renew_ahead_ms = 20;
    }
    MUST(kp_pool_open(&o, &s.pool) == 0);
}

static void all_can_be_lent(void)
{
    const kp_limits alone = { .sharing = 1, .min_idle = KP_NONE };
    kp_lease lease[MOST];

    MUST(kp_retry_now(s.pool, KP_EVERY_KEY) == 0);
    kp_sim_pass_ms(s.sim, 3000);
    MUST(kp_limits_set(s.pool, KP_EVERY_KEY, &alone, NULL) == 0);
    MUST(kp_drop(s.pool, KP_EVERY_KEY, 1000) == 0);
    for (int i = 0; i < MOST; i++)
        MUST(kp_get(s.pool, kp_str("afterwards"), KP_IN_MS(500), &lease[i]) == 0);
    for (int i = 0; i < MOST; i++) kp_release(&lease[i]);
}

static void play(int round, int percent)
{
    memset(&s, 0, sizeof s);
    s.round = round;
    s.random = (uint64_t)round;
    MUST(kp_sim_open((uint64_t)round, &s.sim) == 0);
    kp_sim_shuffle(s.sim, chance(50));
    s.world = *kp_sim_world(s.sim);
    s.world.alloc = take;
    s.world.free = give;
    write_script(s.create, 20);
    write_script(s.check, 10);
    const kp_script script = { .create = s.create, .validate = s.check, .reset = s.check,
                               .sim = s.sim };
    MUST(kp_cast_open(&script, &s.cast) == 0);
    open_pool();
    s.percent = percent;
    for (int i = 0; i < TASKS; i++) MUST(kp_sim_spawn(s.sim, work, NULL) > 0);
    kp_sim_join(s.sim, 0);
    MUST(s.refused < 2000); /* nobody tries again and again without a pause */
    s.percent = 0;
    memset(s.create, 0, sizeof s.create);
    memset(s.check, 0, sizeof s.check);
    all_can_be_lent();
    MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, 1000) == 0);
    kp_cast_count n = kp_cast_read(s.cast);
    MUST(n.creates + s.added == n.destroys);
    MUST(n.destroyed_twice == 0 && n.used_after == 0 && s.misuses == 0 && s.held == 0);
    kp_cast_close(s.cast);
    MUST(kp_sim_close(s.sim) == 0);
}

static void memory_that_comes_and_goes_must_cost_calls_and_nothing_else(void **state)
{
    static const int percent[] = { 5, 30, 80, 100 };
    uint64_t enomems = 0;

    (void)state;
    for (int round = 1; round <= ROUNDS; round++) {
        play(round, percent[round % 4]);
        enomems += s.enomems;
    }
    assert_true(enomems > ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_comes_and_goes_must_cost_calls_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
