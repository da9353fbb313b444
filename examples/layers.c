/* SPDX-License-Identifier: MIT
 *
 * Pools as services: opened at start, handed to the code that needs them, closed in reverse order,
 * by one scope. When one does not open, those that did are closed by the same call.
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct database_service { kp_pool *pool; };     /* what business code may see */
struct cache_service    { kp_pool *pool; };

struct app {
    kp_scope                layers;             /* {0} is an open scope */
    struct database_service database;
    struct cache_service    cache;
};

static char destroyed[64];              /* in this order */

static int create(kp_job *job, void **out)
{
    *out = malloc(1);
    return *out ? 0 : kp_job_fail(job, 12, "no memory");
}

static int destroy(kp_job *job, void *resource)
{
    strncat(destroyed, job->ctx, sizeof destroyed - strlen(destroyed) - 1);
    free(resource);
    return 0;
}

static void close_layer(void *pool)
{
    int64_t out = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(10));

    if (out > 0)
        fprintf(stderr, "closed with %d still out\n", (int)out);
}

static int open_layer(kp_scope *layers, const kp_options *options, kp_pool **out)
{
    int rc = kp_pool_open(options, out);

    if (rc == 0) {
        rc = kp_scope_defer(layers, close_layer, *out);
        if (rc < 0)
            close_layer(*out);          /* it was not taken: still ours */
    }
    return rc;
}

static int open_app(struct app *app)
{
    kp_options database = {
        .name = "database",
        .driver = { .create = create, .destroy = destroy, .ctx = "database " },
    };
    kp_options cache = {
        .name = "cache",
        .driver = { .create = create, .destroy = destroy, .ctx = "cache " },
        .limits = { .max_live = 15, .excess_ttl_ms = KP_MINUTES(10) },
    };
    int rc = open_layer(&app->layers, &database, &app->database.pool);

    if (rc == 0)
        rc = open_layer(&app->layers, &cache, &app->cache.pool);
    if (rc < 0)
        kp_scope_close(&app->layers);   /* whatever did open */
    return rc;
}

static int touch(kp_pool *pool, const char *key)
{
    kp_lease lease;
    int      rc = kp_get(pool, kp_str(key), NULL, &lease);

    if (rc == 0)
        kp_release(&lease);
    return rc;
}

int main(void)
{
    struct app app = { 0 };
    int        rc = open_app(&app);

    if (rc < 0) {
        fprintf(stderr, "%s\n", kp_strerror(rc));
        return 1;
    }
    rc = touch(app.database.pool, "eu");
    if (rc == 0)
        rc = touch(app.cache.pool, "sessions");
    kp_scope_close(&app.layers);        /* cache, then database */
    printf("destroyed: %s\n", destroyed);
    return !(rc == 0 && strcmp(destroyed, "cache database ") == 0);
}
