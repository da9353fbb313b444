/* SPDX-License-Identifier: MIT
 *
 * The drop-in for apr_reslist, handed NULL (R4).
 */
#include "keyedpool_apr.h"

#include <stdlib.h>

#include "misuse/null.h"

static apr_status_t make(void **out, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    *out = malloc(1);
    return *out ? APR_SUCCESS : APR_ENOMEM;
}

static apr_status_t unmake(void *resource, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    free(resource);
    return APR_SUCCESS;
}

/* Where the library is asked, it tells. */
static void null_must_be_borne(void **state)
{
    apr_reslist_t *list = NULL, *none = (apr_reslist_t *)&none;
    apr_pool_t *apr;
    void *resource = &resource;

    (void)state;
    kp_on_misuse(count_orphan, NULL);
    assert_int_equal(apr_pool_create(&apr, NULL), APR_SUCCESS);
    ANSWER(APR_EINVAL, kp_apr_reslist_create, NULL, 0, 1, 1, 0, make, unmake, NULL, apr);
    ANSWER(APR_EINVAL, kp_apr_reslist_create, &none, 0, 1, 1, 0, NULL, unmake, NULL, apr);
    assert_null(none);
    ANSWER(APR_EINVAL, kp_apr_reslist_create, &none, 0, 1, 1, 0, make, NULL, NULL, apr);
    ANSWER(APR_EINVAL, kp_apr_reslist_create, &none, 0, 1, 1, 0, make, unmake, NULL, NULL);
    TOLD(APR_EINVAL, kp_apr_reslist_acquire, NULL, &resource);
    assert_null(resource);
    TOLD(APR_EINVAL, kp_apr_reslist_release, NULL, &resource);
    TOLD(APR_EINVAL, kp_apr_reslist_invalidate, NULL, &resource);
    TOLD(APR_EINVAL, kp_apr_reslist_maintain, NULL);
    NOTHING(kp_apr_reslist_timeout_set, NULL, 1);
    NOTHING(kp_apr_reslist_cleanup_order_set, NULL, 0);
    ANSWER(0, kp_apr_reslist_acquired_count, NULL);
    ANSWER(APR_SUCCESS, kp_apr_reslist_destroy, NULL);

    ANSWER(APR_SUCCESS, kp_apr_reslist_create, &list, 0, 1, 1, 0, make, unmake, NULL, apr);
    ANSWER(APR_EINVAL, kp_apr_reslist_acquire, list, NULL);
    ANSWER(APR_NOTFOUND, kp_apr_reslist_release, list, NULL);
    ANSWER(APR_NOTFOUND, kp_apr_reslist_invalidate, list, NULL);
    ANSWER(APR_SUCCESS, kp_apr_reslist_acquire, list, &resource);
    ANSWER(APR_SUCCESS, kp_apr_reslist_release, list, resource);
    apr_pool_destroy(apr);
    assert_int_equal(all_exports_were_called("keyedpool-apr"), 9);
    assert_int_equal(all_inlines_were_called("keyedpool_apr.h"), 0);
}

static int start(void **state)
{
    (void)state;
    return apr_initialize() == APR_SUCCESS ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_must_be_borne),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
