/* SPDX-License-Identifier: MIT
 *
 * The backend postgres: any number of keys stand for one database of one server, and SELECT 1 is
 * the operation.
 */
#include "backend.h"

#include <keyedpool_postgres.h>

#include <stdio.h>
#include <string.h>

static const char *version(void)
{
    static char text[16];
    int n = PQlibVersion();

    return text_of(text, sizeof text, "%d.%d", n / 10000, n % 10000);
}

/* All settings are in the URL, which is not the key: it may have a password. */
static int no_settings(kp_key key, char *buf, size_t size, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)snprintf(buf, size, "%s", "");
    return 0;
}

static int open_pool(const struct target *t, int64_t size, const kp_options *more, kp_pool **out)
{
    kp_pg_options pg = { .conninfo = t->url, .conninfo_for = no_settings };
    kp_options options = *more;

    options.limits.max_live = size;
    return kp_pg_open(&pg, &options, out);
}

/* libpq ends its sentences with a new line. */
static bool operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                    size_t size)
{
    PGconn *conn = kp_pg_conn(lease);
    PGresult *result = PQexec(conn, "SELECT 1");
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;

    (void)t;
    (void)task;
    if (!good) {
        (void)snprintf(why, size, "%s", PQerrorMessage(conn));
        why[strcspn(why, "\n")] = '\0';
    }
    PQclear(result);
    return good;
}

const struct backend postgres_backend = {
    .library = "libpq", .operation = "SELECT 1", .files = 1, .version = version,
    .open = open_pool, .operate = operate,
};
