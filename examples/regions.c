/* SPDX-License-Identifier: MIT
 *
 * Databases by region: more connections for the primary, three retries for each region, and another
 * region when the primary is dead. Nobody who asks sees it die.
 *
 *     US_EAST='host=db1 user=me' US_WEST='host=db2 user=me' US_EAST_STOP=command example-regions
 */
#include <keyedpool_postgres.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct region { const char *name, *variable; int most; } regions[] = {
    { "us-east-1", "US_EAST", 8 },              /* the primary */
    { "us-west-2", "US_WEST", 4 },
};

static const char how[] =
    "Two servers are needed, or one under both names. On Debian:\n"
    "    apt-get install postgresql && service postgresql start\n"
    "    su postgres -c 'createuser --superuser me && createdb me'\n"
    "and again with US_EAST and US_WEST: 'host=/run/postgresql user=me'; and with US_EAST_STOP,\n"
    "a command that stops the first one, to see the other take over.\n";

static const struct region *find(kp_key key)
{
    return strcmp(key.data, regions[0].name) == 0 ? &regions[0] : &regions[1];
}

/* Where a region is; it may have a password, for it appears in no report. */
static int conninfo_for(kp_key key, char *conninfo, size_t size, void *ctx)
{
    const char *where = getenv(find(key)->variable);

    (void)ctx;
    return where && snprintf(conninfo, size, "%s", where) < (int)size ? 0 : -1;
}

/* Called once for each region, when it appears. */
static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->max_live = find(key)->most;
    limits->min_live = find(key)->most / 2;
}

struct lookup { int id; char name[16], region[16]; };

static int find_user(kp_lease *lease, void *arg)
{
    PGconn        *conn = kp_pg_conn(lease);
    struct lookup *lookup = arg;
    kp_lease_about about;
    char           id[12];
    const char    *values[] = { id };

    snprintf(id, sizeof id, "%d", lookup->id);
    PGresult *result = PQexecParams(conn, "SELECT 'user ' || $1::int", 1, NULL, values, NULL, NULL,
                                    0);
    bool found = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (found && kp_lease_read(lease, &about)) {
        snprintf(lookup->name, sizeof lookup->name, "%s", PQgetvalue(result, 0, 0));
        snprintf(lookup->region, sizeof lookup->region, "%s", (const char *)about.key.data);
    }
    PQclear(result);
    /* gone: the others of its region are looked into before anybody is lent them */
    return found ? 0 : PQstatus(conn) == CONNECTION_BAD ? KP_EGONE : -1;
}

static int find_user_anywhere(kp_pool *pool, struct lookup *lookup)
{
    kp_key  fallback = kp_str(regions[1].name);
    kp_why  why = { 0 };
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(20), .tag = "find_user_anywhere", .why = &why },
        .each_ms = KP_SECONDS(10),      /* a primary that hangs must leave time for the fallback */
        .schedule = { .times = 3, .first_ms = KP_NONE },
        .retry_if = kp_retry_any,       /* a read may be repeated */
        .fallback = &fallback, .fallbacks = 1,
    };
    int rc = kp_use(pool, kp_str(regions[0].name), &plan, find_user, lookup);

    if (rc < 0)
        fprintf(stderr, "no region answered: %s %s\n", kp_strerror(rc), why.text);
    return rc;
}

int main(void)
{
    kp_pg_options pg = { .conninfo_for = conninfo_for };
    kp_options    more = { .limits_for = limits_for, .budget.max_live = 10,
                           .limits = { .retry_first_ms = KP_NONE, .breaker_failures = 3 } };
    kp_key        keys[] = { kp_str(regions[0].name), kp_str(regions[1].name) };
    const char   *stop = getenv("US_EAST_STOP");
    struct lookup lookup = { .id = 7 };
    kp_why        why = { 0 };
    kp_stats      east = { 0 };
    kp_pool      *pool;
    int           rc = -1, asked = 0;

    if (kp_pg_open(&pg, &more, &pool) != 0)
        return 1;
    if (kp_warm(pool, keys, 2, KP_ASK(.within_ms = KP_SECONDS(10), .why = &why)) == 2)
        rc = find_user_anywhere(pool, &lookup);
    else
        fprintf(stderr, "%s\n%s", why.text, how);
    if (rc == 0)
        printf("%s, found in %s\n", lookup.name, lookup.region);
    if (rc == 0 && stop && system(stop) == 0) {         /* it may answer for a little while */
        while (rc == 0 && strcmp(lookup.region, regions[0].name) == 0 && asked++ < 1000000)
            rc = find_user_anywhere(pool, &lookup);
        kp_stats_read(pool, keys[0], &east);
        printf("%s, found in %s: question %d met %d failed connects, and no error\n", lookup.name,
               lookup.region, asked, (int)east.create_failures);
        rc = rc != 0 || strcmp(lookup.region, regions[1].name) != 0;
    }
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || rc != 0;
}
