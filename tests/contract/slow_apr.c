/* SPDX-License-Identifier: MIT
 *
 * The drop-in for apr_reslist and a constructor that takes its time: this program has a clock of
 * its own, which each constructor advances.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <time.h>

#include "keyedpool_apr.h"

enum { MIN = 3, EACH_S = 60 };

static _Atomic time_t now_s = 1; /* the keeper reads it, too */

int clock_gettime(clockid_t clock, struct timespec *out)
{
    (void)clock;
    *out = (struct timespec){ .tv_sec = now_s };
    return 0;
}

static apr_status_t make(void **out, void *params, apr_pool_t *pool)
{
    int *made = params;

    (void)pool;
    now_s += EACH_S;
    *out = malloc(1);
    ++*made;
    return APR_SUCCESS;
}

static apr_status_t unmake(void *resource, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    free(resource);
    return APR_SUCCESS;
}

/* APR knows no deadline of a create. */
static void a_list_must_be_filled_however_long_that_takes(void **state)
{
    apr_reslist_t *list;
    apr_pool_t    *pool;
    int            made = 0;

    (void)state;
    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    assert_int_equal(apr_reslist_create(&list, MIN, MIN, MIN, 0, make, unmake, &made, pool),
                     APR_SUCCESS);
    assert_int_equal(made, MIN);
    apr_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_must_be_filled_however_long_that_takes),
    };
    int failed;

    apr_initialize();
    failed = cmocka_run_group_tests_name("slow_apr", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
