/* SPDX-License-Identifier: MIT
 *
 * fork: what a child finds in a pool that was opened before (decisions/0012), with real child
 * processes. fork_deep.c has children of children, and forks at any moment.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "faults/child.h"

/* ---- H25: idle ones, a lent one, one who waits, a keeper that holds the lock ----------------- */

static struct {
    pid_t parent;
    kp_pool *pool;
    kp_lease lent;
    sem_t held, go, kept;
    atomic_bool armed;
    pthread_t waiter, warmer;
    int waiter_rc;
    bool refused;
} h25;

/* The world's `random` is a user's function that may run under the pool's lock. */
static uint64_t random_at_a_gate(void *ctx)
{
    (void)ctx;
    if (getpid() == h25.parent && atomic_exchange(&h25.armed, false)) {
        sem_post(&h25.held);
        while (sem_wait(&h25.go) != 0) continue;
    }
    return 4;
}

static int create_and_post(kp_job *job, void **out)
{
    int rc = thing_create(job, out);

    if (getpid() != h25.parent && !strcmp(job->key.data, "kept")) sem_post(&h25.kept);
    return rc;
}

static void *waits(void *arg)
{
    kp_lease lease;

    h25.waiter_rc = kp_get(h25.pool, kp_str("one"), KP_IN_S(30), &lease);
    if (h25.waiter_rc == 0) kp_release(&lease);
    return arg;
}

/* On a thread of its own: it wakes the keeper before it is back, which needs the lock again. */
static void *warms(void *arg)
{
    kp_key background = kp_str("background");

    (void)kp_warm(h25.pool, &background, 1, NULL);
    return arg;
}

static void at_h25(void)
{
    static const kp_world world = { .random = random_at_a_gate };
    kp_options options = { .driver = thing_driver, .world = &world, .limits.max_live = 2 };
    kp_limits one = { .max_live = 1 };
    kp_stats s = { 0 };

    h25.parent = getpid();
    sem_init(&h25.held, 0, 0);
    sem_init(&h25.go, 0, 0);
    sem_init(&h25.kept, 0, 0);
    options.driver.create = create_and_post;
    options.on_fork = h25.refused ? KP_FORK_REFUSE : 0;
    h25.pool = pool_of_things(options);
    stock(h25.pool, "two", 2);
    h25.lent = take(h25.pool, "one");
    assert_int_equal(kp_limits_set(h25.pool, kp_str("one"), &one, NULL), 0);
    assert_int_equal(pthread_create(&h25.waiter, NULL, waits, NULL), 0);
    while (s.waiting != 1) {
        sched_yield();
        assert_int_equal(kp_stats_read(h25.pool, KP_EVERY_KEY, &s), 0);
    }
    atomic_store(&h25.armed, true);
    assert_int_equal(pthread_create(&h25.warmer, NULL, warms, NULL), 0);
    while (sem_wait(&h25.held) != 0) continue; /* the keeper is stopped there, with the lock */
}

static void after_h25(void)
{
    sem_post(&h25.go);
    assert_int_equal(all_destroyed + all_abandoned, 0);
    kp_lease two = take(h25.pool, "two"), other = take(h25.pool, "two");
    assert_true((two.resource == &things[0] && other.resource == &things[1]) ||
                (two.resource == &things[1] && other.resource == &things[0]));
    kp_release(&two);
    kp_release(&other);
    kp_release(&h25.lent);
    pthread_join(h25.waiter, NULL);
    pthread_join(h25.warmer, NULL);
    assert_int_equal(h25.waiter_rc, 0);
    assert_int_equal(kp_pool_close(h25.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(all_destroyed, 4);
    assert_int_equal(all_abandoned, 0);
    assert_int_equal(told.count, 0);
}

static void h25_child(void *arg)
{
    kp_key kept = kp_str("kept");

    (void)arg;
    MUST(use_it_all(h25.pool, "two") == 0);
    MUST(use_it_all(h25.pool, "one") == 0);
    MUST(all_abandoned == 3 && all_destroyed == 2);
    for (int i = 0; i < 3; i++) MUST(things[i].abandoned == 1 && things[i].destroyed == 0);
    MUST(things[3].made && !things[3].abandoned); /* it was just being made */
    kp_release(&h25.lent);
    MUST(told.count == 1 && strstr(told.text, "before fork"));
    MUST(things[2].abandoned == 1 && things[2].destroyed == 0);
    MUST(kp_warm(h25.pool, &kept, 1, NULL) == 0); /* by a keeper of the child's own */
    while (sem_wait(&h25.kept) != 0) continue;
    MUST(kp_pool_close(h25.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_abandoned == 3 && all_destroyed == 3);
}

/* H25, B-FORK-01, B-FORK-02 */
static void H25_a_child_must_start_empty_whatever_the_parent_was_doing(void **state)
{
    (void)state;
    if (NO_THREADS_IN_CHILDREN) skip();
    h25.refused = false;
    at_h25();
    child_run(h25_child, NULL);
    after_h25();
}

static void h25_refused(void *arg)
{
    kp_lease lease;
    kp_key key = kp_str("two");

    (void)arg;
    MUST(kp_get(h25.pool, key, KP_IN_S(1), &lease) == KP_EFORKED);
    MUST(kp_try_get(h25.pool, key, &lease) == KP_EFORKED);
    MUST(kp_warm(h25.pool, &key, 1, KP_IN_S(1)) == KP_EFORKED);
    MUST(kp_keep(h25.pool) == -1);
    MUST(kp_invalidate_key(h25.pool, KP_EVERY_KEY) == 0);
    MUST(kp_retry_now(h25.pool, KP_EVERY_KEY) == KP_EFORKED);
    MUST(kp_limits_read(h25.pool, key, &(kp_limits){ 0 }) == KP_EFORKED);
    MUST(kp_budget_read(h25.pool, &(kp_budget){ 0 }) == KP_EFORKED);
    MUST(kp_rotate(h25.pool, KP_EVERY_KEY, 0) == KP_EFORKED);
    MUST(!kp_is_pool(h25.pool));
    kp_on_misuse(hear, NULL);
    kp_release(&h25.lent);
    MUST(told.count == 1 && strstr(told.text, "before fork"));
    MUST(kp_pool_close(h25.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == KP_EFORKED);
    MUST(all_abandoned + all_destroyed == 0);
}

/* H25 */
static void H25_a_child_that_is_refused_must_be_told_so_whatever_the_parent_did(void **state)
{
    (void)state;
    if (NO_THREADS_IN_CHILDREN) skip();
    h25.refused = true;
    at_h25();
    child_run(h25_refused, NULL);
    after_h25();
}

/* ---- what of the parent's is stale ----------------------------------------------------------- */

struct stale {
    kp_pool *pool;
    kp_lease lease;
    kp_key pinned;
    kp_scope scope;
};

static void meet_stale_ones(void *arg)
{
    struct stale *s = arg;
    kp_lease copy = s->lease, other;
    kp_lease_about about;
    kp_key own;

    MUST(!kp_lease_read(&s->lease, &about)); /* asking is no misuse */
    MUST(all_abandoned == 0);                /* nor a use */
    kp_scope_close(&s->scope);               /* skips them, as any lease that has ended */
    MUST(told.count == 0);
    TOLD(kp_lease_reuse(&s->lease, false), "before fork");
    TOLD(kp_lease_report(&s->lease, -1), "before fork");
    TOLD(kp_discard(&copy), "before fork");
    TOLD(kp_release(&s->lease), "before fork");
    MUST(kp_pin(s->pool, kp_str("k"), &own) == 0); /* the same place in the same table */
    TOLD(MUST(kp_get(s->pool, s->pinned, NULL, &other) == KP_EMISUSE), "before fork");
    kp_unpin(s->pool, &own);
    TOLD(kp_unpin(s->pool, &s->pinned), "pin");
    MUST(kp_lease_of(s->pool, &things[0], &other) == KP_ENOTFOUND);
    MUST(kp_invalidate(s->pool, &things[0]) == 0);
    MUST(all_destroyed == 0 && all_abandoned == 2);
    /* all numbers are the same except that of the process: not the same lease, nor the same pin */
    MUST(kp_get(s->pool, kp_str("k"), NULL, &other) == 0);
    copy.opaque[0] = other.opaque[0];
    copy.opaque[1] = other.opaque[1];
    TOLD(kp_release(&copy), "fork");
    MUST(kp_lease_read(&other, &about));
    kp_release(&other);
    MUST(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

/* L10 */
static void what_was_lent_or_pinned_before_must_be_stale_in_the_child(void **state)
{
    struct stale s = { .pool = pool_of_things((kp_options){ 0 }) };
    kp_lease lease;

    (void)state;
    s.lease = take(s.pool, "k");
    assert_int_equal(kp_scope_get(&s.scope, s.pool, kp_str("k"), NULL, &lease), 0);
    assert_int_equal(kp_pin(s.pool, kp_str("k"), &s.pinned), 0);
    child_run(meet_stale_ones, &s);
    assert_int_equal(told.count, 0);
    kp_scope_close(&s.scope);
    kp_release(&s.lease);
    assert_int_equal(kp_get(s.pool, s.pinned, NULL, &lease), 0);
    kp_release(&lease);
    kp_unpin(s.pool, &s.pinned);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
    assert_int_equal(all_destroyed, 2);
}

static void end_what_ended_before(void *arg)
{
    struct stale *s = arg;
    kp_lease other;

    MUST(kp_get(s->pool, kp_str("the child's"), NULL, &other) == 0); /* the same place and number */
    MUST((uint32_t)other.opaque[0] == (uint32_t)s->lease.opaque[0]);
    TOLD(kp_release(&s->lease), "already");
    MUST(!strstr(told.text, "the child's"));
    kp_release(&other);
    TOLD(kp_release(&other), "the child's");
    MUST(kp_pool_close(s->pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static void what_ended_before_must_not_be_told_as_of_a_key_of_the_childs(void **state)
{
    struct stale s = { .pool = pool_of_things((kp_options){ 0 }) };

    (void)state;
    s.lease = take(s.pool, "the parent's");
    kp_release(&s.lease);
    child_run(end_what_ended_before, &s);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

/* ---- what the child's pool is like ----------------------------------------------------------- */

static char limits_seen[100];

static void note_limits(kp_key key, kp_limits *limits, void *ctx)
{
    snprintf(limits_seen, sizeof limits_seen, "%.*s %d %s", (int)key.size, (const char *)key.data,
             (int)limits->max_live, (const char *)ctx);
}

static void look_at_options(void *arg)
{
    kp_pool *pool = arg;
    kp_lease lease[4];
    kp_limits limits;
    kp_budget budget;
    kp_stats s;
    char text[400];

    MUST(kp_limits_read(pool, KP_EVERY_KEY, &limits) == 0 && limits.max_live == 3);
    MUST(kp_budget_read(pool, &budget) == 0 && budget.max_live == 4);
    for (int i = 0; i < 3; i++) MUST(kp_get(pool, kp_str("k"), NULL, &lease[i]) == 0);
    MUST(!strcmp(limits_seen, "k 3 context"));
    MUST(kp_get(pool, kp_str("k"), KP_IN_MS(1), &lease[3]) == KP_ETIMEDOUT);
    MUST(kp_get(pool, kp_str("l"), NULL, &lease[3]) == 0);
    MUST(kp_get(pool, kp_str("l"), KP_IN_MS(1), &(kp_lease){ 0 }) == KP_ETIMEDOUT); /* the budget */
    MUST(kp_stats_read(pool, KP_EVERY_KEY, &s) == 0);
    MUST(s.gets == 4 && s.creates == 4 && s.keys == 2 && s.lent == 4);
    MUST(kp_explain(pool, KP_EVERY_KEY, text, sizeof text) > 0 && strstr(text, "as named"));
    for (int i = 0; i < 4; i++) kp_release(&lease[i]);
    MUST(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
}

static void the_childs_pool_must_have_the_options_of_the_parents_and_what_was_set_last(
    void **state)
{
    char name[] = "as named";
    kp_options options = { .name = name, .driver = thing_driver, .limits = { .max_live = 2 },
                           .budget = { .max_live = 9 }, .limits_for = note_limits,
                           .ctx = "context" };
    kp_limits three = { .max_live = 3 };
    kp_budget four = { .max_live = 4 };
    kp_pool *pool = pool_of_things(options);

    (void)state;
    memset(name, '?', sizeof name - 1); /* what the caller had may be gone */
    stock(pool, "k", 2);
    assert_int_equal(kp_limits_set(pool, KP_EVERY_KEY, &three, NULL), 0);
    assert_int_equal(kp_budget_set(pool, &four, NULL), 0);
    limits_seen[0] = 0;
    child_run(look_at_options, pool);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

static pthread_t made_on;

static int create_on_thread(kp_job *job, void **out)
{
    made_on = pthread_self();
    return thing_create(job, out);
}

static void have_it_made_by_the_crew(void *arg)
{
    kp_lease lease;

    MUST(kp_get(arg, kp_str("k"), KP_IN_S(30), &lease) == 0);
    MUST(!pthread_equal(made_on, pthread_self()));
    MUST(((struct thing *)lease.resource)->made_in == getpid());
    kp_release(&lease);
    MUST(kp_pool_close(arg, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    MUST(all_abandoned == 1 && all_destroyed == 1);
}

static void a_pool_with_threads_must_have_threads_in_the_child(void **state)
{
    kp_options options = { .driver = thing_driver, .threads = 2 };
    kp_pool *pool;

    (void)state;
    if (NO_THREADS_IN_CHILDREN) skip();
    options.driver.create = create_on_thread;
    pool = pool_of_things(options);
    stock(pool, "k", 1);
    child_run(have_it_made_by_the_crew, pool);
    assert_int_equal(kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(H25_a_child_must_start_empty_whatever_the_parent_was_doing),
        T(H25_a_child_that_is_refused_must_be_told_so_whatever_the_parent_did),
        T(what_was_lent_or_pinned_before_must_be_stale_in_the_child),
        T(what_ended_before_must_not_be_told_as_of_a_key_of_the_childs),
        T(the_childs_pool_must_have_the_options_of_the_parents_and_what_was_set_last),
        T(a_pool_with_threads_must_have_threads_in_the_child),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
