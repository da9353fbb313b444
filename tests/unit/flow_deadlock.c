/* SPDX-License-Identifier: MIT
 *
 * Random nested gets of several threads over keys and pools, all played by one thread. Each time
 * one would sleep, what the pool says is compared with a search of the test's own, by another
 * method: remove threads that can go on until none can be removed; those that are left are
 * deadlocked.
 *
 *     KP_STEPS=10000000 KP_SEED=1 build/release/tests/test-unit-flow_deadlock
 */
#include "flow_stage.h"

#include "flow/door.h"
#include "flow/get.h"
#include "flow/here.h"

enum { THREADS = 7, POOLS = 2, KEYS = 4, HOLDS = 4 };

static const char names[KEYS][2] = { "a", "b", "c", "d" };

struct player {
    struct { kp_lease lease; int pool, key; } held[HOLDS];
    int holds;
    bool asleep;
    int pool, key;                      /* that it waits for */
    struct kp__get get;
    struct kp__request request;
    struct kp__sleeper sleeper;
};

static struct stage stage;
static kp_pool *pools[POOLS];
static int64_t max_live[POOLS], most[POOLS]; /* of a key, of the pool */
static struct player players[THREADS];
static uint64_t made, refused, slept;

static int create(kp_job *job, void **resource)
{
    (void)job;
    *resource = (void *)(uintptr_t)++made;
    return 0;
}

/* ---- the other search ------------------------------------------------------------------------ */

static bool is_answered(const struct player *p)
{
    return p->asleep && p->request.grant.kind != KP__GRANT_WAIT;
}

/* For good, as far as it knows: it was not called to look at something. */
static bool waits(const struct player *p)
{
    const struct kp__request *r = &p->request;

    return p->asleep && !is_answered(p) && atomic_load(&r->state) == KP__WAITING && !r->invited &&
           !r->offered;
}

/* Does it hold one of this key (KEYS: of any), or was it given one and has not noticed yet? */
static bool holds(const struct player *p, int pool, int key)
{
    for (int i = 0; i < p->holds; i++)
        if (p->held[i].pool == pool && (key == KEYS || p->held[i].key == key)) return true;
    return is_answered(p) && p->pool == pool && (key == KEYS || p->key == key);
}

static int64_t lent_of(int pool, int key)
{
    int64_t lent = 0;

    for (int i = 0; i < THREADS; i++) {
        const struct player *p = &players[i];
        for (int j = 0; j < p->holds; j++)
            lent += p->held[j].pool == pool && (key == KEYS || p->held[j].key == key);
        lent += is_answered(p) && p->pool == pool && (key == KEYS || p->key == key);
    }
    return lent;
}

/* Could it be served although nobody gives anything back? */
static bool has_room(const struct player *p)
{
    return lent_of(p->pool, p->key) < max_live[p->pool] &&
           lent_of(p->pool, KEYS) < most[p->pool];
}

static bool is_stuck(const struct player *newcomer)
{
    bool stuck[THREADS], struck = true;

    for (int i = 0; i < THREADS; i++) stuck[i] = waits(&players[i]) && !has_room(&players[i]);
    while (struck) {
        struck = false;
        for (int i = 0; i < THREADS; i++) {
            if (!stuck[i]) continue;
            int pool = players[i].pool, key = players[i].key;
            if (lent_of(pool, key) < max_live[pool]) key = KEYS;
            for (int j = 0; j < THREADS; j++)
                if (!stuck[j] && holds(&players[j], pool, key)) stuck[i] = false;
            if (!stuck[i]) struck = true;
        }
    }
    return stuck[newcomer - players];
}

/* ---- the play -------------------------------------------------------------------------------- */

static struct kp__pool *enter(const struct player *p, int pool, struct kp__todo *todo)
{
    int code;
    struct kp__pool *entered = kp__enter(pools[pool], todo, &code);

    kp__here.thread = (uint32_t)(p - players) + 1;
    return entered;
}

/* It was answered: what becomes of it. */
static void finish(struct player *p, struct kp__todo *todo)
{
    kp_lease lease = { 0 };
    int code = kp__get_run(&p->get, todo);

    kp__get_end(&p->get, code, &lease, todo);
    p->asleep = false;
    if (code == 0) {
        p->held[p->holds].lease = lease;
        p->held[p->holds].pool = p->pool;
        p->held[p->holds++].key = p->key;
    } else {
        assert_int_equal(code, KP_EDEADLK);
        refused++;
    }
}

/* Sleeps, if it has to and is not told that it would never wake. */
static void fall_asleep(struct player *p, struct kp__todo *todo)
{
    p->asleep = true;
    if (!is_answered(p)) {
        bool stuck = waits(p) && is_stuck(p);
        kp__sleep_begin(&p->get, &p->sleeper, todo);
        slept++;
        if (is_answered(p) != stuck)
            fail_msg("sleep %llu: the pool says %d, the search %d", (unsigned long long)slept,
                     is_answered(p), stuck);
        if (is_answered(p)) kp__sleep_end(&p->sleeper);
    }
    if (is_answered(p)) finish(p, todo);
}

static void get(struct player *p)
{
    struct kp__todo todo;

    p->pool = (int)kit_below(POOLS);
    p->key = (int)kit_below(KEYS);
    struct kp__pool *pool = enter(p, p->pool, &todo);
    p->get = (struct kp__get){ .pool = pool, .request = &p->request };
    kp__request_init(&p->request, false, NULL, NULL);
    assert_int_equal(kp__get_begin(&p->get, kp_str(names[p->key]), NULL, &todo), 0);
    fall_asleep(p, &todo);
    kp__leave(pool, &todo);
}

static void look(struct player *p)
{
    struct kp__todo todo;
    struct kp__pool *pool = enter(p, p->pool, &todo);

    if (!waits(p)) {
        kp__sleep_end(&p->sleeper);
        (void)kp__get_look(&p->get, &todo);
        fall_asleep(p, &todo);
    }
    kp__leave(pool, &todo);
}

static void give(struct player *p)
{
    int i = (int)kit_below((unsigned)p->holds);

    kp_release(&p->held[i].lease);
    p->held[i] = p->held[--p->holds];
}

static void step(struct player *p)
{
    if (p->asleep) look(p);
    else if (p->holds == HOLDS || (p->holds > 0 && kit_below(3) == 0)) give(p);
    else get(p);
}

static void rest(void)
{
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < THREADS; i++) {
            if (players[i].asleep) look(&players[i]);
            while (players[i].holds > 0) give(&players[i]);
            again = again || players[i].asleep;
        }
    }
}

/* Pools of random sizes, and so many steps with them. */
static void play(uint64_t steps)
{
    stage_set(&stage);
    stage.options.driver = (kp_driver){
        .create = create, .destroy = stage_destroy, .ctx = &stage
    };
    stage.options.limits = (kp_limits){
        .max_creating = KP_UNLIMITED, .idle_ttl_ms = KP_OFF, .max_age_ms = KP_OFF,
    };
    stage.options.leak_after_ms = KP_OFF;
    stage.options.deadline_ms = KP_OFF;
    stage.options.on_deadlock = KP_DEADLOCK_REFUSE;
    for (int i = 0; i < POOLS; i++) {
        stage.options.limits.max_live = max_live[i] = 1 + kit_below(3);
        stage.options.limits.wait_order = kit_below(3) == 0 ? KP_EVENTUAL : KP_FIFO;
        most[i] = 2 + kit_below(10); /* what is idle makes room */
        stage.options.budget.max_lent = i == 0 ? most[i] : 0;
        stage.options.budget.max_live = i == 1 ? most[i] : 0;
        stage_open(&stage);
        pools[i] = stage.pool;
    }
    for (uint64_t i = 0; i < steps; i++) step(&players[kit_below(THREADS)]);
    rest();
    for (int i = 0; i < POOLS; i++)
        assert_int_equal(kp_pool_close(pools[i], KP_CLOSE_NOW, KP_NONE), 0);
}

static void what_is_told_must_be_what_another_search_finds(void **state)
{
    const char *steps = getenv("KP_STEPS");
    uint64_t left = steps ? strtoull(steps, NULL, 10) : 1000000;
    uint32_t thread = kp__here.thread;

    (void)state;
    kit_seed();
    for (uint64_t some = 5000; left > 0; left -= some) {
        if (some > left) some = left;
        play(some);
    }
    kp__here.thread = thread;
    printf("%llu slept, %llu of them would have been deadlocked\n", (unsigned long long)slept,
           (unsigned long long)refused);
    assert_true(refused > 0 && refused < slept);
}

/* ---- a sleep that ends early ----------------------------------------------------------------- */

static int parks;

/* Once for nothing, then as the stage does. */
static void park_early(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    if (parks++ > 0) stage_park(word, while_it_is, until_ns, ctx);
}

static void who_wakes_for_nothing_must_not_be_told_again(void **state)
{
    struct stage s;
    kp_lease lease, none;

    (void)state;
    stage_set(&s);
    s.world.park = park_early;
    s.options.limits.max_live = 1;
    s.options.on_deadlock = KP_DEADLOCK_REPORT;
    stage_open(&s);
    lease = stage_get(&s, "a");
    parks = 0;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(100), &none), KP_ETIMEDOUT);
    assert_int_equal(parks, 2);
    assert_int_equal(stage_heard(&s, KP_EVENT_DEADLOCK), 1);
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_MS(100), &none), KP_ETIMEDOUT);
    assert_int_equal(stage_heard(&s, KP_EVENT_DEADLOCK), 2); /* another get */
    kp_release(&lease);
    stage_fall(&s);
}

/* ---- gets within gets ------------------------------------------------------------------------ */

static kp_pool *nested;

static void set_most(int64_t live)
{
    kp_limits limits = { .max_live = live };

    assert_int_equal(kp_limits_set(nested, kp_str("a"), &limits, NULL), 0);
}

static void give_room(struct stage *s)
{
    (void)s;
    set_most(2);
}

/* The get that waits for itself may create now, which fails; its listener takes the room away, and
 * does a get of its own. */
static void take_room_and_get(const kp_event *event, void *ctx)
{
    kp_lease none;

    stage_event(event, ctx);
    if (event->kind != KP_EVENT_CREATE_FAILED) return;
    set_most(1);
    assert_int_equal(kp_try_get(nested, kp_str("b"), &none), KP_EAGAIN);
}

static void a_get_within_a_get_must_not_have_its_deadlock_told_again(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.options.limits.max_live = 1;
    s.options.limits.on_create_failure = KP_FAIL_RETRY;
    s.options.on_deadlock = KP_DEADLOCK_REPORT;
    s.options.on_event = take_room_and_get;
    stage_open(&s);
    nested = s.pool;
    kp_lease lease = stage_get(&s, "a");
    s.create = -1;
    s.meanwhile = give_room;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_S(1), &none), KP_ETIMEDOUT);
    assert_int_equal(stage_heard(&s, KP_EVENT_CREATE_FAILED), 1);
    assert_int_equal(stage_heard(&s, KP_EVENT_DEADLOCK), 1);
    kp_release(&lease);
    stage_fall(&s);
}

/* The outer get waits for itself, which is told. Its create then waits for itself, too. */
static int create_and_wait(kp_job *job, void **resource)
{
    struct stage *s = job->ctx;
    kp_lease none;

    if (s->create == 0) return stage_create(job, resource);
    set_most(1);
    assert_int_equal(kp_get(nested, kp_str("c"), KP_IN_MS(10), &none), KP_ETIMEDOUT);
    return -1;
}

static void a_deadlock_of_a_get_within_a_get_must_be_told(void **state)
{
    struct stage s;
    kp_lease none;

    (void)state;
    stage_set(&s);
    s.options.driver.create = create_and_wait;
    s.options.limits.max_live = 1;
    s.options.on_deadlock = KP_DEADLOCK_REPORT;
    stage_open(&s);
    nested = s.pool;
    kp_lease lease = stage_get(&s, "a"), other = stage_get(&s, "c");
    s.create = -1;
    s.meanwhile = give_room;
    assert_int_equal(kp_get(s.pool, kp_str("a"), KP_IN_S(1), &none), KP_ECREATE);
    assert_int_equal(stage_heard(&s, KP_EVENT_DEADLOCK), 2);
    kp_release(&lease);
    kp_release(&other);
    stage_fall(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_within_a_get_must_not_have_its_deadlock_told_again),
        cmocka_unit_test(a_deadlock_of_a_get_within_a_get_must_be_told),
        cmocka_unit_test(who_wakes_for_nothing_must_not_be_told_again),
        cmocka_unit_test(what_is_told_must_be_what_another_search_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
