/* SPDX-License-Identifier: MIT
 *
 * Databases by region: more connections for the primary, three retries for each region, and another
 * region when the primary is dead. No caller notices.
 *
 *     US_EAST='host=db1 user=me' US_WEST='host=db2 user=me' US_EAST_STOP=command example-regions
 */
#include <keyedpool_postgres.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EAST "US_EAST"                          /* the primary */
#define WEST "US_WEST"

static const char how[] =
    "Two servers are needed, or one under both names: on Debian, apt-get install postgresql; and\n"
    "where they are in US_EAST and US_WEST. US_EAST_STOP, a command, stops the first one.\n";

/* The environment variable named like the region says where it is, maybe with a password, which no
 * report shows. */
static int conninfo_for(kp_key key, char *conninfo, size_t size, void *ctx)
{
    const char *where = getenv(key.data);

    (void)ctx;
    return where && snprintf(conninfo, size, "%s", where) < (int)size ? 0 : -1;
}

/* Called once for each region, when it appears. */
static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->max_live = strcmp(key.data, EAST) == 0 ? 8 : 4;
    limits->min_live = limits->max_live / 2;
}

struct lookup { int id; char name[16], region[16]; };

static int find_user(kp_lease *lease, void *arg)
{
    PGconn        *conn = kp_pg_conn(lease);
    struct lookup *lookup = arg;
    kp_lease_about about;
    char           query[40];

    snprintf(query, sizeof query, "SELECT 'user %d'", lookup->id);
    PGresult *result = PQexec(conn, query);
    bool found = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (found && kp_lease_read(lease, &about)) {
        snprintf(lookup->name, sizeof lookup->name, "%s", PQgetvalue(result, 0, 0));
        snprintf(lookup->region, sizeof lookup->region, "%s", (const char *)about.key.data);
    }
    PQclear(result);
    /* gone: the others of its region are tested before anybody borrows them */
    return found ? 0 : PQstatus(conn) == CONNECTION_BAD ? KP_EGONE : -1;
}

static int find_user_anywhere(kp_pool *pool, struct lookup *lookup)
{
    kp_why  why;
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(20), .why = &why },
        .each_ms = KP_SECONDS(10),      /* a primary that hangs must leave time for the fallback */
        .schedule = { .times = 3, .first_ms = KP_NONE },
        .retry_if = kp_retry_any,       /* a read may be repeated */
        .fallback = (kp_key[]){ kp_str(WEST) }, .fallbacks = 1,
    };
    int rc = kp_use(pool, kp_str(EAST), &plan, find_user, lookup);
    if (rc < 0)
        fprintf(stderr, "no region answered: %s %s\n", kp_strerror(rc), why.text);
    return rc;
}

int main(void)
{
    kp_pg_options pg = { .conninfo_for = conninfo_for };
    kp_options    more = { .limits_for = limits_for, .budget.max_live = 10,
                           .limits = { .retry_first_ms = KP_NONE, .breaker_failures = 3 } };
    kp_key        keys[] = { kp_str(EAST), kp_str(WEST) };
    const char   *stop = getenv("US_EAST_STOP");
    struct lookup lookup = { .id = 7 };
    kp_why        why;
    kp_pool      *pool;
    int           rc = -1, asked = 0;

    if (kp_pg_open(&pg, &more, &pool) != 0)
        return 1;
    if (kp_warm(pool, keys, 2, KP_ASK(.within_ms = KP_SECONDS(10), .why = &why)) == 2)
        rc = find_user_anywhere(pool, &lookup);
    else
        fprintf(stderr, "%s\n%s", why.text, how);
    bool dies = rc == 0 && stop && system(stop) == 0;   /* it may answer for a little while */
    while (dies && rc == 0 && strcmp(lookup.region, EAST) == 0 && asked++ < 1000000)
        rc = find_user_anywhere(pool, &lookup);
    if (rc == 0)
        printf("%s, found in %s\n", lookup.name, lookup.region);
    rc |= dies && strcmp(lookup.region, WEST) != 0;
    return kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || rc != 0;
}
