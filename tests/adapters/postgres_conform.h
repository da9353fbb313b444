/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter, held to what every adapter must hold to: once with the driver that blocks
 * and once with the one that does not.
 */
#ifndef TESTS_ADAPTERS_POSTGRES_CONFORM_H
#define TESTS_ADAPTERS_POSTGRES_CONFORM_H

#include <keyedpool_postgres.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapters/conform.h"
#include "adapters/postgres_server.h"

#define TEXT(s) { s, sizeof s - 1 }

static const kp_key keys[] = { TEXT("postgres"), TEXT("template1") };

static const char *use(void *resource)
{
    return pg_value(resource, "SELECT 42") == 42 ? NULL : PQerrorMessage(resource);
}

static void ruin(void *resource)
{
    (void)shutdown(PQsocket(resource), SHUT_RDWR);
}

static void hang_up(void)
{
    (void)pg_ask("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                 " WHERE application_name = 'keyedpool'");
}

/* ---- what is left open ----------------------------------------------------------------------- */

static void leave_transaction(void *resource)
{
    (void)pg_value(resource, "BEGIN; CREATE TEMP TABLE mine (x int)");
}

static void leave_failed_transaction(void *resource)
{
    (void)pg_value(resource, "BEGIN");
    (void)pg_value(resource, "SELECT no such word");
}

static bool in_transaction(void *resource)
{
    return PQtransactionStatus(resource) != PQTRANS_IDLE;
}

static void leave_result(void *resource)
{
    (void)PQsendQuery(resource, "SELECT 7");
}

static void leave_half_a_result(void *resource)
{
    (void)PQsendQuery(resource, "SELECT repeat('x', 1000) FROM generate_series(1, 100000)");
    (void)PQsetSingleRowMode(resource);
    PQclear(PQgetResult(resource));
}

static void leave_copy(void *resource)
{
    PQclear(PQexec(resource, "CREATE TEMP TABLE IF NOT EXISTS t (x int)"));
    PQclear(PQexec(resource, "COPY t FROM STDIN"));
}

static void leave_copy_out(void *resource)
{
    PQclear(PQexec(resource, "COPY (SELECT 1) TO STDOUT"));
}

static bool is_busy(void *resource)
{
    return PQtransactionStatus(resource) == PQTRANS_ACTIVE || pg_value(resource, "SELECT 8") != 8;
}

static void leave_pipeline(void *resource)
{
    (void)PQenterPipelineMode(resource);
}

static void leave_full_pipeline(void *resource)
{
    (void)PQenterPipelineMode(resource);
    (void)PQsendQueryParams(resource, "SELECT 9", 0, NULL, NULL, NULL, NULL, 0);
    (void)PQpipelineSync(resource);
}

static bool in_pipeline(void *resource)
{
    return PQpipelineStatus(resource) != PQ_PIPELINE_OFF || is_busy(resource);
}

static void leave_listen(void *resource)
{
    (void)pg_value(resource, "LISTEN news");
    (void)pg_ask("NOTIFY news");
}

static bool is_told(void *resource)
{
    PGnotify *note;

    if (pg_value(resource, "SELECT count(*) FROM pg_listening_channels()") != 0)
        return true;
    note = PQnotifies(resource);
    PQfreemem(note);
    return note != NULL;
}

static void leave_settings(void *resource)
{
    (void)pg_value(resource, "SET ROLE ward; SET work_mem = '77MB'");
}

static bool has_settings(void *resource)
{
    return pg_value(resource, "SELECT (current_user <> 'app' OR"
                              " current_setting('work_mem') = '77MB')::int") != 0;
}

static void leave_cursor(void *resource)
{
    (void)pg_value(resource, "DECLARE c CURSOR WITH HOLD FOR SELECT 1");
}

static bool has_cursor(void *resource)
{
    return pg_value(resource, "SELECT count(*) FROM pg_cursors") != 0;
}

/* As it is lent: what a borrower changes is changed back. */
static bool nonblocking;

static void leave_the_other_mode(void *resource)
{
    (void)PQsetnonblocking(resource, !nonblocking);
}

static bool in_the_other_mode(void *resource)
{
    return PQisnonblocking(resource) != nonblocking;
}

/* ---- what cannot be served ------------------------------------------------------------------- */

static PGconn *crowd[PG_CONNECTIONS + 1];
static char deaf_key[64];
static char tls_key[128];

static void fill_server(void)
{
    for (int i = 0; i <= PG_CONNECTIONS; i++) {
        crowd[i] = PQconnectdb(pg.conninfo);
        if (PQstatus(crowd[i]) != CONNECTION_OK)
            return;
    }
}

static void empty_server(void)
{
    for (int i = 0; i <= PG_CONNECTIONS; i++) {
        PQfinish(crowd[i]);
        crowd[i] = NULL;
    }
}

/* One that takes calls and never says a word. */
static int start(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof at;

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0)
        return -1;
    (void)snprintf(deaf_key, sizeof deaf_key, "port=%d", ntohs(at.sin_port));
    if (pg_set_up() != 0)
        return -1;
    (void)snprintf(tls_key, sizeof tls_key, "sslmode=verify-ca sslrootcert=%s/other.crt", pg.data);
    return 0;
}

/* `silent`: what a get is answered whose server says nothing; 0: its deadline, or the driver's. */
static int run_conform(const char *name, int (*fill)(kp_options *options), bool loop, int silent)
{
    static const struct conform_left left[] = {
        { "a transaction", leave_transaction, in_transaction },
        { "a failed transaction", leave_failed_transaction, in_transaction },
        { "a result that was not read", leave_result, is_busy },
        { "half a result", leave_half_a_result, is_busy },
        { "a COPY", leave_copy, is_busy },
        { "a COPY that comes", leave_copy_out, is_busy },
        { "a pipeline", leave_pipeline, in_pipeline },
        { "a pipeline with a question in it", leave_full_pipeline, in_pipeline },
        { "a LISTEN", leave_listen, is_told },
        { "settings and a role", leave_settings, has_settings },
        { "a cursor", leave_cursor, has_cursor },
        { "the other mode", leave_the_other_mode, in_the_other_mode },
        { 0 },
    };
    struct conform_wrong wrong[] = {
        { "a wrong password", TEXT("user=stranger"), KP_EREFUSED,
          KP_PG_SQLSTATE('2', '8', 'P', '0', '1'),
          { "password authentication failed for user \"stranger\"", "(28P01)", "127.0.0.1" },
          NULL, NULL },
        { "an unknown database", TEXT("nowhere"), KP_EREFUSED,
          KP_PG_SQLSTATE('3', 'D', '0', '0', '0'),
          { "database \"nowhere\" does not exist", "(3D000)" }, NULL, NULL },
        { "an unknown host", TEXT("host=no-such-host.invalid"), KP_ECREATE,
          KP_PG_SQLSTATE('0', '8', '0', '0', '1'),
          { "could not translate host name", "no-such-host.invalid" }, NULL, NULL },
        { "a closed port", TEXT("port=1"), KP_ECREATE, KP_PG_SQLSTATE('0', '8', '0', '0', '1'),
          { "Connection refused", "port 1" }, NULL, NULL },
        { "no socket there", TEXT("host=/nonexistent"), KP_ECREATE, 0,
          { "No such file", "/nonexistent" }, NULL, NULL },
        { "a certificate that nobody vouches for", { tls_key, 0 }, KP_ECREATE, 0,
          { "certificate verify failed", "127.0.0.1" }, NULL, NULL },
        { "a full server", TEXT("postgres"), KP_ECREATE, KP_PG_SQLSTATE('5', '3', '3', '0', '0'),
          { "(53300)" }, fill_server, empty_server },
        { "a server that does not answer", { deaf_key, 0 }, silent, 0, { "in time" }, NULL, NULL },
        { "a key with a password", TEXT("user=app password=xyz"), KP_EREFUSED, 0,
          { "a key must not have a password" }, NULL, NULL },
        { "a key that is nonsense", TEXT("a=b=c"), KP_EREFUSED, 0, { "neither a database" }, NULL,
          NULL },
        { 0 },
    };
    struct conform subject = {
        .name = name, .start = start, .stop = pg_tear_down, .fill = fill, .keys = keys,
        .keys_count = 2, .use = use, .ruin = ruin, .left = left, .wrong = wrong,
        .secret = PG_SECRET, .kill = pg_kill, .restart = pg_start,
        .hang_up = hang_up,
    };

    nonblocking = loop;
    if (start() != 0)
        return 1;
    subject.start = NULL;
    for (struct conform_wrong *w = wrong; w->what; w++)
        if (w->key.size == 0)
            w->key = kp_str(w->key.data);
    return conform_run(&subject);
}

#endif
