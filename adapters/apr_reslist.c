/* SPDX-License-Identifier: MIT
 *
 * apr_reslist over a keyedpool with one key: the functions of keyedpool_apr.h. The configuration is
 * the preset "apr"; what is left to do here is to translate times and codes, to find the lease of a
 * resource, and to run APR's callbacks one at a time, since they share an apr_pool_t, which must
 * not be used by two threads at once. Takes and gives of other resources do not wait for them.
 */
#define KP_APR_KEEP_NAMES
#include "keyedpool_apr.h"

#include <apr_errno.h>
#include <apr_pools.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The list has one key: the empty one. */
static const kp_key the_key = { NULL, 0 };

struct apr_reslist_t {
    kp_pool                *pool;
    apr_pool_t             *apr;        /* Guard: callbacks; NULL once APR has cleared it */
    void                   *params;
    apr_reslist_constructor construct;
    apr_reslist_destructor  destruct;
    pthread_mutex_t         callbacks;  /* held while one of APR's callbacks runs */
    _Atomic int64_t         within_ms;  /* of an acquire */
    atomic_int              owners;     /* who still uses this: APR's pool, and ours */
};

/* ---- the driver ---- */

/* One that was about to begin when APR's pool went must not: it would have no pool. */
static int construct(kp_job *job, void **out)
{
    apr_reslist_t *list = job->ctx;
    apr_status_t   status = APR_EGENERAL;

    pthread_mutex_lock(&list->callbacks);
    if (list->apr)
        status = list->construct(out, list->params, list->apr);
    pthread_mutex_unlock(&list->callbacks);
    return status == APR_SUCCESS ? 0 : kp_job_fail(job, status, "the constructor failed");
}

static int destruct(kp_job *job, void *resource)
{
    apr_reslist_t *list = job->ctx;
    apr_status_t   status;

    pthread_mutex_lock(&list->callbacks);
    status = list->destruct(resource, list->params, list->apr);
    pthread_mutex_unlock(&list->callbacks);
    return status == APR_SUCCESS ? 0 : kp_job_fail(job, status, "the destructor failed");
}

static void disown(void *ctx)
{
    apr_reslist_t *list = ctx;

    if (atomic_fetch_sub(&list->owners, 1) > 1)
        return;
    pthread_mutex_destroy(&list->callbacks);
    free(list);
}

/* ---- translation ---- */

/* Of no list, none: then the library tells of the misuse. */
static kp_pool *pool_of(apr_reslist_t *list)
{
    return list ? list->pool : NULL;
}

static int64_t ms_up(apr_interval_time_t us)
{
    return us / 1000 + (us % 1000 > 0);
}

static apr_status_t status_of(int rc, const kp_why *why)
{
    switch (rc) {
    case 0:
        return APR_SUCCESS;
    case KP_ETIMEDOUT:
        return APR_TIMEUP;
    case KP_ENOMEM:
        return APR_ENOMEM;
    case KP_ECONFIG:
    case KP_EMISUSE:
        return APR_EINVAL;
    case KP_ECREATE:
        return why->vendor_code ? why->vendor_code : APR_EGENERAL;
    default:
        return APR_EGENERAL;
    }
}

/* ---- create and destroy ---- */

static apr_status_t clean_up(void *data)
{
    apr_reslist_t *list = data;

    kp_pool_close(list->pool, KP_CLOSE_NOW, KP_NONE);
    pthread_mutex_lock(&list->callbacks);
    list->apr = NULL;                   /* what is still out will be destroyed without it */
    pthread_mutex_unlock(&list->callbacks);
    disown(list);
    return APR_SUCCESS;
}

static int open_pool(apr_reslist_t *list, int min, int smax, int hmax, int64_t ttl_ms, kp_why *why)
{
    kp_options options = {
        .name = "apr_reslist",
        .driver = { .create = construct, .destroy = destruct, .ctx = list, .drop_ctx = disown },
        .why = why,
    };
    char preset[96];
    int  rc;

    snprintf(preset, sizeof preset, "apr %d %d %d %lldms", min, smax, hmax, (long long)ttl_ms);
    rc = kp_options_set(&options, "preset", preset);
    if (rc < 0)
        return rc;
    options.limits.excess_check |= KP_CHECK_KEEPER;     /* apr_reslist_maintain */
    options.limits.min_live = min > 0 ? min : KP_NONE;  /* what kp_warm below brings it to */
    options.limits.refill = KP_REFILL_EAGER;            /* without a get, as APR does */
    options.forget_key_after_ms = KP_OFF;
    return kp_pool_open(&options, &list->pool);
}

static apr_reslist_t *make_list(apr_reslist_constructor con, apr_reslist_destructor de,
                                void *params, apr_pool_t *apr)
{
    apr_reslist_t *list = calloc(1, sizeof *list);

    if (!list)
        return NULL;
    list->apr = apr;
    list->params = params;
    list->construct = con;
    list->destruct = de;
    atomic_init(&list->within_ms, KP_OFF);
    atomic_init(&list->owners, 2);
    pthread_mutex_init(&list->callbacks, NULL);
    return list;
}

apr_status_t kp_apr_reslist_create(apr_reslist_t **out, int min, int smax, int hmax,
                                   apr_interval_time_t ttl, apr_reslist_constructor con,
                                   apr_reslist_destructor de, void *params, apr_pool_t *apr)
{
    apr_reslist_t *list;
    kp_why         why = { 0 };
    int            rc;

    if (out)
        *out = NULL;
    if (!out || !con || !de || !apr)
        return APR_EINVAL;
    if (min < 0 || min > smax || min > hmax || smax > hmax || hmax == 0 || ttl < 0)
        return APR_EINVAL;
    list = make_list(con, de, params, apr);
    if (!list)
        return APR_ENOMEM;
    rc = open_pool(list, min, smax, hmax, ms_up(ttl), &why);
    if (rc < 0) {
        atomic_store(&list->owners, 1);
        disown(list);
        return status_of(rc, &why);
    }
    if (min > 0 &&
        kp_warm(list->pool, &the_key, 1, KP_ASK(.within_ms = KP_OFF, .why = &why)) < 1) {
        clean_up(list);
        return status_of(why.code < 0 ? why.code : KP_ECREATE, &why);
    }
    apr_pool_cleanup_register(apr, list, clean_up, apr_pool_cleanup_null);
    *out = list;
    return APR_SUCCESS;
}

apr_status_t kp_apr_reslist_destroy(apr_reslist_t *list)
{
    return list ? apr_pool_cleanup_run(list->apr, list, clean_up) : APR_SUCCESS;
}

/* ---- borrowing ---- */

apr_status_t kp_apr_reslist_acquire(apr_reslist_t *list, void **resource)
{
    kp_why   why;
    kp_lease lease;
    kp_ask   ask = { .within_ms = list ? atomic_load(&list->within_ms) : 0, .why = &why };
    int      rc;

    if (!resource)
        return APR_EINVAL;
    rc = kp_get(pool_of(list), the_key, &ask, &lease);
    *resource = lease.resource;
    return status_of(rc, &why);
}

static apr_status_t end(apr_reslist_t *list, void *resource, void (*how)(kp_lease *))
{
    kp_lease lease;
    int      rc = kp_lease_of(pool_of(list), resource, &lease);

    if (rc < 0)
        return rc == KP_EMISUSE ? APR_EINVAL : APR_NOTFOUND;
    how(&lease);
    return APR_SUCCESS;
}

apr_status_t kp_apr_reslist_release(apr_reslist_t *list, void *resource)
{
    return end(list, resource, kp_release);
}

apr_status_t kp_apr_reslist_invalidate(apr_reslist_t *list, void *resource)
{
    return end(list, resource, kp_discard);
}

/* ---- the rest ---- */

void kp_apr_reslist_timeout_set(apr_reslist_t *list, apr_interval_time_t timeout)
{
    if (list)
        atomic_store(&list->within_ms, timeout > 0 ? ms_up(timeout) : KP_OFF);
}

apr_uint32_t kp_apr_reslist_acquired_count(apr_reslist_t *list)
{
    kp_stats stats;

    if (!list || kp_stats_read(list->pool, KP_EVERY_KEY, &stats) < 0)
        return 0;
    return (apr_uint32_t)stats.lent;
}

apr_status_t kp_apr_reslist_maintain(apr_reslist_t *list)
{
    if (list)                           /* a constructor that failed is called again */
        (void)kp_retry_now(list->pool, the_key);
    kp_keep(pool_of(list));
    return list ? APR_SUCCESS : APR_EINVAL;
}

void kp_apr_reslist_cleanup_order_set(apr_reslist_t *list, apr_uint32_t mode)
{
    (void)list, (void)mode;
}
