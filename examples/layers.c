/* SPDX-License-Identifier: MIT
 *
 * Pools as services: opened at start, handed to the code that needs them, closed in reverse order,
 * by one scope. If a server is not there, the start says so, and closes what was open.
 *
 *     PGHOST=db1 PGUSER=me REDIS_URL=redis://cache1 example-layers
 */
#include <keyedpool_postgres.h>
#include <keyedpool_redis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char how[] =
    "Two servers are needed. On Debian:\n"
    "    apt-get install postgresql redis-server\n"
    "    service postgresql start && service redis-server start\n"
    "    su postgres -c 'createuser --superuser me && createdb me'\n"
    "and again with PGHOST=/run/postgresql PGUSER=me\n";

/* ---- the layers ------------------------------------------------------------------------------ */

struct database { kp_pool *pool; };     /* what business code may see; a type for each, so that */
struct cache    { kp_pool *pool; };     /* nobody hands over the wrong one */

struct app {
    kp_scope        layers;             /* {0} is an open scope */
    struct database database;
    struct cache    cache;
};

static char closed[40];                 /* in this order; one thread closes */

static void note(const kp_event *event, void *name)
{
    if (event->kind == KP_EVENT_DESTROYED)
        strncat(closed, name, sizeof closed - strlen(closed) - 1);
}

static void close_layer(void *pool)
{
    int64_t out = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(10));

    if (out > 0)
        fprintf(stderr, "closed with %d still out\n", (int)out);
}

/* The scope has it from now on. Is anybody there? */
static int add_layer(kp_scope *layers, kp_pool *pool)
{
    kp_key only = { 0 };
    kp_why why = { 0 };

    if (kp_scope_defer(layers, close_layer, pool) != 0) {
        close_layer(pool);              /* it was not taken: still ours */
        return KP_ENOMEM;
    }
    if (kp_warm(pool, &only, 1, KP_ASK(.within_ms = KP_SECONDS(5), .why = &why)) == 1)
        return 0;
    fprintf(stderr, "%s\n%s", why.text, how);
    return why.code ? why.code : KP_ETIMEDOUT;
}

static int redis_place(kp_key key, char *url, size_t size, void *ctx)
{
    const char *place = getenv("REDIS_URL");

    (void)key, (void)ctx;
    return snprintf(url, size, "%s", place ? place : "127.0.0.1:6379") < (int)size ? 0 : -1;
}

static int open_app(struct app *app)
{
    kp_options database = { .name = "database", .on_event = note, .ctx = (void *)"database " };
    kp_options cache = { .name = "cache", .on_event = note, .ctx = (void *)"cache ",
                         .limits = { .max_live = 15, .excess_ttl_ms = KP_MINUTES(10) } };
    kp_redis_options redis = { .where = redis_place };
    int rc = kp_pg_open(NULL, &database, &app->database.pool);

    if (rc == 0)
        rc = add_layer(&app->layers, app->database.pool);
    if (rc == 0)
        rc = kp_redis_open(&redis, &cache, &app->cache.pool);
    if (rc == 0)
        rc = add_layer(&app->layers, app->cache.pool);
    if (rc != 0)
        kp_scope_close(&app->layers);   /* whatever did open */
    return rc;
}

/* ---- the business: it is given what it needs, and no more ------------------------------------ */

struct user { int id; char name[20]; bool cached; };

static int recall(kp_lease *lease, void *arg)
{
    struct user *user = arg;
    redisReply  *reply = redisCommand(kp_redis(lease), "GET user:%d", user->id);

    if (!reply)
        return KP_EGONE;
    user->cached = reply->type == REDIS_REPLY_STRING;
    if (user->cached)
        snprintf(user->name, sizeof user->name, "%s", reply->str);
    freeReplyObject(reply);
    return 0;
}

static int keep(kp_lease *lease, void *arg)
{
    struct user *user = arg;
    redisReply  *reply = redisCommand(kp_redis(lease), "SET user:%d %s EX 60", user->id,
                                      user->name);

    freeReplyObject(reply);
    return reply ? 0 : KP_EGONE;
}

static int look_up(kp_lease *lease, void *arg)
{
    struct user *user = arg;
    char         sql[60];

    snprintf(sql, sizeof sql, "SELECT 'user number %d'", user->id);
    PGresult *result = PQexec(kp_pg_conn(lease), sql);
    bool found = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (found)
        snprintf(user->name, sizeof user->name, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return found ? 0 : PQstatus(kp_pg_conn(lease)) == CONNECTION_BAD ? KP_EGONE : -1;
}

/* From the cache, or else from the database; a cache that fails is ignored. */
static int find_user(struct database database, struct cache cache, struct user *user)
{
    kp_key  only = { 0 };
    kp_plan once_more = { .ask.within_ms = KP_SECONDS(2), .schedule.times = 1 };
    int     rc;

    if (kp_use(cache.pool, only, &once_more, recall, user) == 0 && user->cached)
        return 0;
    rc = kp_use(database.pool, only, &once_more, look_up, user);
    if (rc == 0 && kp_use(cache.pool, only, &once_more, keep, user) != 0)
        fprintf(stderr, "not cached\n");
    return rc;
}

int main(void)
{
    struct app  app = { 0 };
    struct user first = { .id = 7 }, again = { .id = 7 };
    int         rc;

    signal(SIGPIPE, SIG_IGN);           /* hiredis writes to servers that have gone */
    if (open_app(&app) != 0)
        return 1;
    rc = find_user(app.database, app.cache, &first);
    if (rc == 0)
        rc = find_user(app.database, app.cache, &again);
    kp_scope_close(&app.layers);        /* the cache, then the database */
    printf("%s, then %s from the cache; closed: %s\n", first.name, again.name, closed);
    return rc != 0 || !again.cached || strcmp(closed, "cache database ") != 0;
}
