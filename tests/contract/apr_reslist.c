/* SPDX-License-Identifier: MIT
 *
 * The drop-in for apr_reslist: what APR's own test of its list checks (test/testreslist.c: filling,
 * threads on a small list, time-outs, shrinking, invalidation, clean-up), under APR's own names,
 * and what APR's list gets wrong. keyedpool_apr.h maps the names.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "keyedpool_apr.h"

enum { MIN = 3, SMAX = 10, HMAX = 20 };

struct world {
    apr_pool_t *pool;
    atomic_int  made, unmade, at_once, most_at_once, failed;
    atomic_int  fail_after;             /* a constructor beyond so many fails; 0: none */
    bool        destroyed_without_pool;
};

struct thing { struct world *world; atomic_int users; };

static apr_status_t make(void **out, void *params, apr_pool_t *pool)
{
    struct world *w = params;
    struct thing *t;
    int           running = atomic_fetch_add(&w->at_once, 1) + 1;

    if (running > w->most_at_once)
        w->most_at_once = running;
    assert_ptr_equal(pool, w->pool);
    t = w->fail_after && w->made >= w->fail_after ? NULL : calloc(1, sizeof *t);
    if (t) {
        t->world = w;
        w->made++;
    }
    *out = t;
    w->failed += !t;
    atomic_fetch_sub(&w->at_once, 1);
    return t ? APR_SUCCESS : APR_EGENERAL + 7;
}

static apr_status_t unmake(void *resource, void *params, apr_pool_t *pool)
{
    struct world *w = params;

    w->unmade++;
    w->destroyed_without_pool |= pool == NULL;
    free(resource);
    return APR_SUCCESS;
}

static apr_reslist_t *make_list(struct world *w, int min, int smax, int hmax,
                                apr_interval_time_t ttl)
{
    apr_reslist_t *list;

    assert_int_equal(apr_reslist_create(&list, min, smax, hmax, ttl, make, unmake, w, w->pool),
                     APR_SUCCESS);
    return list;
}

static int setup(void **state)
{
    static struct world w;

    w = (struct world){ .pool = NULL };
    *state = &w;
    return apr_pool_create(&w.pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *w = *state;

    if (w->pool)
        apr_pool_destroy(w->pool);
    /* what upkeep has begun to destroy may end after the close */
    for (int i = 0; i < 1000000 && w->made != w->unmade; i++)
        sched_yield();
    return w->made == w->unmade && w->most_at_once <= 1 ? 0 : -1;
}

static void a_list_must_be_filled_to_its_minimum_when_it_is_made(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, MIN, SMAX, HMAX, 0);

    assert_int_equal(w->made, MIN);
    assert_int_equal(apr_reslist_acquired_count(list), 0);
    assert_int_equal(apr_reslist_destroy(list), APR_SUCCESS);
    assert_int_equal(w->unmade, MIN);
}

static void a_list_whose_constructor_fails_must_not_be_made(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = (apr_reslist_t *)w;

    w->fail_after = 2;
    assert_int_equal(apr_reslist_create(&list, MIN, SMAX, HMAX, 0, make, unmake, w, w->pool),
                     APR_EGENERAL + 7);
    assert_null(list);
    assert_int_equal(w->unmade, w->made);
}

static void impossible_sizes_must_be_refused(void **state)
{
    static const int sizes[][3] = {
        { -1, 1, 1 }, { 2, 1, 3 }, { 3, 3, 2 }, { 0, 3, 2 }, { 0, 0, 0 },
    };
    struct world  *w = *state;
    apr_reslist_t *list;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(apr_reslist_create(&list, sizes[i][0], sizes[i][1], sizes[i][2], 0, make,
                                            unmake, w, w->pool), APR_EINVAL);
    assert_int_equal(apr_reslist_create(&list, 0, 1, 1, -1, make, unmake, w, w->pool), APR_EINVAL);
    assert_int_equal(w->made, 0);
}

static void the_twenty_first_of_twenty_must_time_out_and_the_list_must_work_on(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, MIN, SMAX, HMAX, 0);
    void          *taken[HMAX], *more;

    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_acquire(list, &taken[i]), APR_SUCCESS);
    assert_int_equal(apr_reslist_acquired_count(list), HMAX);
    apr_reslist_timeout_set(list, 1000);
    assert_int_equal(apr_reslist_acquire(list, &more), APR_TIMEUP);
    assert_null(more);
    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_release(list, taken[i]), APR_SUCCESS);
    assert_int_equal(apr_reslist_acquired_count(list), 0);
    assert_int_equal(apr_reslist_acquire(list, &more), APR_SUCCESS);
    assert_int_equal(apr_reslist_release(list, more), APR_SUCCESS);
}

static void what_is_above_the_soft_maximum_must_go_once_it_is_old(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 0, 2, HMAX, 1000);
    void          *taken[HMAX];

    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_acquire(list, &taken[i]), APR_SUCCESS);
    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_release(list, taken[i]), APR_SUCCESS);
    /* true 1 ms later on the real clock; else CTest ends the test */
    while (w->made - w->unmade > 2) {
        assert_int_equal(apr_reslist_acquire(list, &taken[0]), APR_SUCCESS);
        assert_int_equal(apr_reslist_release(list, taken[0]), APR_SUCCESS);
        assert_int_equal(apr_reslist_maintain(list), APR_SUCCESS);
        sched_yield();
    }
}

/* No get and no release: maintain alone does it. */
static void maintain_must_destroy_the_excess(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 0, 1, HMAX, 1000);
    void          *taken[HMAX];

    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_acquire(list, &taken[i]), APR_SUCCESS);
    for (int i = 0; i < HMAX; i++)
        assert_int_equal(apr_reslist_release(list, taken[i]), APR_SUCCESS);
    while (w->made - w->unmade > 1) {   /* 1 ms later; or CTest ends it */
        assert_int_equal(apr_reslist_maintain(list), APR_SUCCESS);
        sched_yield();
    }
}

static void an_invalidated_one_must_be_destroyed_and_make_room(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 0, 1, 1, 0);
    void          *taken;

    apr_reslist_timeout_set(list, 1000);
    assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
    assert_int_equal(apr_reslist_invalidate(list, taken), APR_SUCCESS);
    assert_int_equal(w->unmade, 1);
    assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
    assert_int_equal(w->made, 2);
    assert_int_equal(apr_reslist_release(list, taken), APR_SUCCESS);
}

/* No get: what is lost is made up for, though the list was full when it was wanted. */
static void maintain_must_make_up_for_an_invalidated_one(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 1, 1, 1, 0);
    void          *taken;

    for (int made = 1; made < 4; made++) {
        while (w->made < made) {        /* in the background; or CTest ends it */
            assert_int_equal(apr_reslist_maintain(list), APR_SUCCESS);
            sched_yield();
        }
        assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
        assert_int_equal(apr_reslist_maintain(list), APR_SUCCESS);
        assert_int_equal(apr_reslist_invalidate(list, taken), APR_SUCCESS);
    }
}

/* Each maintain tries again, as with APR's own list. */
static void maintain_must_try_again_what_failed(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 1, 1, 1, 0);
    void          *taken;

    w->fail_after = 1;
    assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
    assert_int_equal(apr_reslist_invalidate(list, taken), APR_SUCCESS);
    while (w->made < 2) {               /* in the background; or CTest ends it */
        assert_int_equal(apr_reslist_maintain(list), APR_SUCCESS);
        if (w->failed >= 3)
            w->fail_after = 0;
        sched_yield();
    }
}

/* With APR's own list the first lends one resource to two, and the second corrupts its counts. */
static void what_is_not_lent_must_be_refused(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, 0, 2, 2, 0);
    void          *taken, *other;
    int            foreign;

    apr_reslist_timeout_set(list, 1000);
    assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
    assert_int_equal(apr_reslist_release(list, taken), APR_SUCCESS);
    assert_int_equal(apr_reslist_release(list, taken), APR_NOTFOUND);
    assert_int_equal(apr_reslist_invalidate(list, &foreign), APR_NOTFOUND);
    assert_int_equal(apr_reslist_acquire(list, &taken), APR_SUCCESS);
    assert_int_equal(apr_reslist_acquire(list, &other), APR_SUCCESS);
    assert_ptr_not_equal(taken, other);
    apr_reslist_release(list, taken);
    apr_reslist_release(list, other);
}

static void a_list_must_go_with_its_pool_and_what_is_out_when_it_comes_back(void **state)
{
    struct world  *w = *state;
    apr_reslist_t *list = make_list(w, MIN, SMAX, HMAX, 0);
    void          *out;

    apr_reslist_cleanup_order_set(list, APR_RESLIST_CLEANUP_DEFAULT);
    assert_int_equal(apr_reslist_acquire(list, &out), APR_SUCCESS);
    apr_pool_destroy(w->pool);
    w->pool = NULL;
    assert_int_equal(w->unmade, w->made - 1);
    assert_false(w->destroyed_without_pool);
    assert_int_equal(apr_reslist_release(list, out), APR_SUCCESS);
    assert_int_equal(w->unmade, w->made);
    assert_true(w->destroyed_without_pool);
}

/* ---- twenty-five consumers on twenty resources, one in twenty invalidated ---- */

struct consumer { apr_reslist_t *list; pthread_t thread; unsigned seed; int failures; };

static void *consume(void *arg)
{
    struct consumer *c = arg;

    for (int i = 0; i < 100; i++) {
        void         *taken;
        struct thing *t;

        if (apr_reslist_acquire(c->list, &taken) != APR_SUCCESS) {
            c->failures++;
            continue;
        }
        t = taken;
        c->failures += atomic_fetch_add(&t->users, 1) != 0;
        sched_yield();
        atomic_fetch_sub(&t->users, 1);
        if (rand_r(&c->seed) % 20 == 0)
            c->failures += apr_reslist_invalidate(c->list, taken) != APR_SUCCESS;
        else
            c->failures += apr_reslist_release(c->list, taken) != APR_SUCCESS;
    }
    return NULL;
}

static void twenty_five_consumers_on_twenty_must_all_be_served(void **state)
{
    struct world   *w = *state;
    apr_reslist_t  *list = make_list(w, MIN, SMAX, HMAX, 1000);
    struct consumer consumers[25];

    for (int i = 0; i < 25; i++) {
        consumers[i] = (struct consumer){ .list = list, .seed = (unsigned)i };
        assert_int_equal(pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]), 0);
    }
    for (int i = 0; i < 25; i++) {
        pthread_join(consumers[i].thread, NULL);
        assert_int_equal(consumers[i].failures, 0);
    }
    assert_int_equal(apr_reslist_acquired_count(list), 0);
}

/* ---- the end of a list while its constructor runs ---- */

struct ending {
    apr_reslist_t *list;
    atomic_int     inside, without_pool;        /* constructors so far; of these, with none */
};

static apr_status_t make_slowly(void **out, void *params, apr_pool_t *pool)
{
    struct ending *e = params;

    e->without_pool += pool == NULL;
    if (e->inside++ > 0)
        sched_yield();
    *out = malloc(1);
    return APR_SUCCESS;
}

static apr_status_t unmake_it(void *resource, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    free(resource);
    return APR_SUCCESS;
}

static void *take_and_give(void *arg)
{
    struct ending *e = arg;
    void *taken;

    if (apr_reslist_acquire(e->list, &taken) == APR_SUCCESS)
        apr_reslist_release(e->list, taken);
    return NULL;
}

/* One may be about to begin when the list is destroyed. What is out keeps the list until the end.
 * When all this happens is chance, so there are many rounds. */
static void a_constructor_must_never_run_without_its_pool(void **state)
{
    struct world *w = *state;

    for (int round = 0; round < 1000; round++) {
        struct ending e = { .list = NULL };
        pthread_t     threads[3];
        void         *out;

        assert_int_equal(apr_reslist_create(&e.list, 0, 4, 4, 0, make_slowly, unmake_it, &e,
                                            w->pool), APR_SUCCESS);
        assert_int_equal(apr_reslist_acquire(e.list, &out), APR_SUCCESS);
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &e), 0);
        for (int i = 0; i < round % 64; i++)
            sched_yield();
        assert_int_equal(apr_reslist_destroy(e.list), APR_SUCCESS);
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(apr_reslist_release(e.list, out), APR_SUCCESS);
        assert_int_equal(e.without_pool, 0);
    }
}

/* Both sets of names must stand for the same functions. */
static void the_names_of_apr_must_be_mapped(void **state)
{
    (void)state;
    assert_ptr_equal(apr_reslist_create, kp_apr_reslist_create);
    assert_ptr_equal(apr_reslist_destroy, kp_apr_reslist_destroy);
    assert_ptr_equal(apr_reslist_acquire, kp_apr_reslist_acquire);
    assert_ptr_equal(apr_reslist_release, kp_apr_reslist_release);
    assert_ptr_equal(apr_reslist_invalidate, kp_apr_reslist_invalidate);
    assert_ptr_equal(apr_reslist_timeout_set, kp_apr_reslist_timeout_set);
    assert_ptr_equal(apr_reslist_acquired_count, kp_apr_reslist_acquired_count);
    assert_ptr_equal(apr_reslist_maintain, kp_apr_reslist_maintain);
    assert_ptr_equal(apr_reslist_cleanup_order_set, kp_apr_reslist_cleanup_order_set);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_list_must_be_filled_to_its_minimum_when_it_is_made),
        T(a_list_whose_constructor_fails_must_not_be_made),
        T(impossible_sizes_must_be_refused),
        T(the_twenty_first_of_twenty_must_time_out_and_the_list_must_work_on),
        T(what_is_above_the_soft_maximum_must_go_once_it_is_old),
        T(maintain_must_destroy_the_excess),
        T(an_invalidated_one_must_be_destroyed_and_make_room),
        T(maintain_must_make_up_for_an_invalidated_one),
        T(maintain_must_try_again_what_failed),
        T(what_is_not_lent_must_be_refused),
        T(a_list_must_go_with_its_pool_and_what_is_out_when_it_comes_back),
        T(twenty_five_consumers_on_twenty_must_all_be_served),
        T(a_constructor_must_never_run_without_its_pool),
        cmocka_unit_test(the_names_of_apr_must_be_mapped),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
