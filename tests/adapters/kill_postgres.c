/* SPDX-License-Identifier: MIT
 *
 * kill_postgres [--rounds N] [--down-ms N] [--slack-ms N]: PostgreSQL killed in the middle of load
 * (kill.h).
 */
#include <keyedpool_postgres.h>

#include "adapters/kill.h"
#include "adapters/postgres_server.h"

static kp_pg_counts counted;

/* libpq's own prints what a server says as it goes. */
static void say_nothing(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

static int quieten(PGconn *conn, kp_key key, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)PQsetNoticeProcessor(conn, say_nothing, NULL);
    return 0;
}

static int open_pool(const kp_options *more, kp_pool **out)
{
    kp_pg_options o = { .conninfo = pg.conninfo, .counts = &counted, .on_open = quieten };

    return kp_pg_open(&o, more, out);
}

static PGconn *conn_of(void *resource)
{
    kp_lease lease = { .resource = resource };

    return kp_pg_conn(&lease);
}

static enum kill_answer ask(void *resource, unsigned long long number)
{
    enum kill_answer answer = KILL_BROKEN;
    char sql[64];
    PGresult *result;

    (void)snprintf(sql, sizeof sql, "SELECT %llu", number);
    result = PQexec(conn_of(resource), sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        answer = strtoull(PQgetvalue(result, 0, 0), NULL, 10) == number ? KILL_GOOD : KILL_WRONG;
    PQclear(result);
    return answer;
}

static void leave(void *resource)
{
    PQclear(PQexec(conn_of(resource), "BEGIN"));
}

static struct kill_counts counts(void)
{
    kp_pg_counts c = kp_pg_counts_read(&counted);

    return (struct kill_counts){ c.opened, c.closed };
}

static long seen(void)
{
    return pg_ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keyedpool'");
}

int main(int argc, char **argv)
{
    const struct kill subject = {
        .key = kp_str("postgres"), .start = pg_set_up, .restart = pg_start, .kill = pg_kill,
        .stop = pg_tear_down, .open = open_pool, .ask = ask, .leave = leave, .counts = counts,
        .seen = seen,
    };

    return kill_run(&subject, argc, argv);
}
