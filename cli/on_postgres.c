/* SPDX-License-Identifier: MIT
 *
 * The backend postgres: any number of keys stand for one database of one server, and SELECT 1 is
 * the operation.
 */
#include "bench.h"
#include "doctor.h"

#include <keyedpool_postgres.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *version(void)
{
    static char text[16];
    int n = PQlibVersion();

    return text_of(text, sizeof text, "%d.%d", n / 10000, n % 10000);
}

/* All settings are in the URL. That is not the key, since it may have a password. */
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

/* Like PQexec for a question, but in within_ms, whatever comes; of a COPY there would be no end.
 * NULL: it failed, and `why` says why. */
static PGresult *ask(PGconn *conn, const char *sql, int64_t within_ms, char *why, size_t size)
{
    struct pollfd p = { .fd = PQsocket(conn), .events = POLLIN };
    uint64_t now = bench_now_ns(), until = now + (uint64_t)within_ms * 1000000;
    PGresult *result = NULL, *next;
    bool good = PQsendQuery(conn, sql) != 0;

    for (; good && now < until; now = bench_now_ns()) {
        if (PQisBusy(conn)) {
            if (poll(&p, 1, (int)((until - now) / 1000000) + 1) > 0)
                good = PQconsumeInput(conn) != 0;
        } else if ((next = PQgetResult(conn)) != NULL) {
            PQclear(result);
            result = next;
            good = PQresultStatus(next) == PGRES_TUPLES_OK ||
                   PQresultStatus(next) == PGRES_FATAL_ERROR;
        } else if (PQresultStatus(result) == PGRES_TUPLES_OK) {
            return result;
        } else {
            good = false;
        }
    }
    (void)snprintf(why, size, "%s", good ? "no answer in time" : PQerrorMessage(conn));
    why[strcspn(why, "\n")] = '\0';
    if (!*why)
        (void)snprintf(why, size, "an answer without rows");
    PQclear(result);
    return NULL;
}

static enum outcome operate(kp_lease *lease, const struct target *t, struct task task, char *why,
                            size_t size)
{
    PGresult *result = ask(kp_pg_conn(lease), "SELECT 1", t->within_ms, why, size);
    bool good = result != NULL;

    (void)task;
    PQclear(result);
    return good ? DONE : BROKEN;
}

/* ---- what a doctor sees ---------------------------------------------------------------------- */

/* The columns of `question`; a limit of -1 is none. A superuser is held to that of the server
 * alone. Every role sees who is connected, if not what they do. Workers take no connection: those
 * of autovacuum have no user, and of parallel queries only a role's own can be told. */
enum {
    VERSION, MOST, USED, ROLE_MOST, ROLE_USED, DATABASE_MOST, DATABASE_USED, IDLE_MS, COLUMNS
};

static const char question[] =
    "SELECT current_setting('server_version'),"
    " current_setting('max_connections')::bigint - CASE WHEN r.rolsuper THEN 0 ELSE"
    "  current_setting('superuser_reserved_connections')::bigint +"
    "  coalesce(current_setting('reserved_connections', true)::bigint, 0) END,"
    " count(a.pid), CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END,"
    " count(a.pid) FILTER (WHERE a.usesysid = r.oid),"
    " CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END,"
    " count(a.pid) FILTER (WHERE a.datid = d.oid),"
    " coalesce((SELECT setting::bigint FROM pg_settings WHERE name = 'idle_session_timeout'), 0) "
    "FROM pg_roles r JOIN pg_database d ON d.datname = current_database() "
    "LEFT JOIN pg_stat_activity a ON a.datid IS NOT NULL AND a.usesysid IS NOT NULL"
    " AND coalesce(a.backend_type, 'client backend') = 'client backend'"
    " AND a.pid <> pg_backend_pid() "
    "WHERE r.rolname = session_user GROUP BY r.rolsuper, r.rolconnlimit, d.datconnlimit";

static int64_t number(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static void say_limits(struct doctor *d, const PGresult *r)
{
    doctor_say(d, MARK_OK, "version", "PostgreSQL %s", PQgetvalue(r, 0, VERSION));
    doctor_room(d, "connections", "max_connections, less what is reserved,", number(r, MOST),
                number(r, USED));
    if (number(r, ROLE_MOST) >= 0)
        doctor_room(d, "role_connections", "CONNECTION LIMIT of the role", number(r, ROLE_MOST),
                    number(r, ROLE_USED));
    if (number(r, DATABASE_MOST) >= 0)
        doctor_room(d, "database_connections", "CONNECTION LIMIT of the database",
                    number(r, DATABASE_MOST), number(r, DATABASE_USED));
    doctor_idle(d, "idle_session_timeout", number(r, IDLE_MS));
}

static void examine(struct doctor *d, const struct target *t, kp_lease *lease)
{
    char why[300] = "the role is not listed, or this is no PostgreSQL";
    PGresult *result = ask(kp_pg_conn(lease), question, t->within_ms, why, sizeof why);

    if (result && PQntuples(result) == 1 && PQnfields(result) == COLUMNS)
        say_limits(d, result);
    else
        doctor_say(d, MARK_WARN, "limits", "its limits cannot be read: %s", why);
    PQclear(result);
}

const struct backend postgres_backend = {
    .library = "libpq", .operation = "SELECT 1", .files = 1, .version = version,
    .open = open_pool, .operate = operate, .examine = examine,
};
