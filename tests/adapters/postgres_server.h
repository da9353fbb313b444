/* SPDX-License-Identifier: MIT
 *
 * A PostgreSQL server of a test's own: one database cluster in a folder, on a port of 127.0.0.1 and
 * on a Unix socket, with a certificate that only server.crt vouches for. `kp` is its superuser and
 * let in by the socket; `app` has the password that the pools use, `stranger` another one.
 */
#ifndef TESTS_ADAPTERS_POSTGRES_SERVER_H
#define TESTS_ADAPTERS_POSTGRES_SERVER_H

#include <glob.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/server.h"

#define PG_SECRET "open-sesame"
#ifndef PG_CONNECTIONS
#  define PG_CONNECTIONS 20             /* three of them for superusers */
#endif

static struct {
    struct server server;
    int  port;
    char data[96], bin[96];
    char conninfo[256];         /* of the pools: TCP, with a password */
    char admin[256];            /* by the socket, as superuser */
} pg;

static inline char *pg_program(const char *name, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/%s", pg.bin, name);
    return path;
}

/* Debian keeps the server's programs out of the path, in a folder for each version. */
static inline bool pg_find(void)
{
    glob_t found;
    size_t n;

    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0) {
        (void)fprintf(stderr, "no PostgreSQL server here: apt-get install postgresql\n");
        return false;
    }
    n = strlen(found.gl_pathv[found.gl_pathc - 1]) - strlen("/initdb");
    (void)snprintf(pg.bin, sizeof pg.bin, "%.*s", (int)n, found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return true;
}

static inline int pg_start(void)
{
    char path[128], port[16], most[32];
    char *argv[] = { pg_program("postgres", path, sizeof path), "-D", pg.data, "-k",
                     pg.server.folder, "-h", "127.0.0.1", "-p", port, "-c", most, "-c",
                     "fsync=off", "-c", "lc_messages=C", "-c", "ssl=on", NULL };

    (void)snprintf(port, sizeof port, "%d", pg.port);
    (void)snprintf(most, sizeof most, "max_connections=%d", PG_CONNECTIONS);
    if (server_start(&pg.server, argv) != 0)
        return -1;
    return server_await(&pg.server, "ready to accept connections", 30000);
}

static inline PGconn *pg_admin(void)
{
    PGconn *conn = PQconnectdb(pg.admin);

    if (PQstatus(conn) != CONNECTION_OK)
        (void)fprintf(stderr, "admin: %s", PQerrorMessage(conn));
    return conn;
}

/* The first value of the last result, as a number; -1 for an error, 0 for none. */
static inline long pg_value(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    long value = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ? 0 : -1;

    if (status == PGRES_TUPLES_OK && PQntuples(result) > 0)
        value = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return value;
}

static inline long pg_ask(const char *sql)
{
    PGconn *conn = pg_admin();
    long value = pg_value(conn, sql);

    PQfinish(conn);
    return value;
}

static inline int pg_let_in(void)
{
    char path[128];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/pg_hba.conf", pg.data);
    f = fopen(path, "w");
    if (!f)
        return -1;
    (void)fputs("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", f);
    return fclose(f);
}

/* NAME.crt, signed by its own key, in the folder of the data: where the server looks. */
static inline int pg_certify(const char *name)
{
    char key[128], crt[128];
    char *argv[] = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1", "-days",
                     "2", "-keyout", key, "-out", crt, NULL };

    (void)snprintf(key, sizeof key, "%s/%s.key", pg.data, name);
    (void)snprintf(crt, sizeof crt, "%s/%s.crt", pg.data, name);
    return server_run(&pg.server, argv);
}

static inline int pg_set_up(void)
{
    char path[128];
    char *argv[] = { path, "-D", pg.data, "-U", "kp", "-A", "trust", "-N", "--locale=C", "-E",
                     "UTF8", "--no-instructions", NULL };

    if (!pg_find() || server_folder(&pg.server) != 0)
        return -1;
    (void)pg_program("initdb", path, sizeof path);
    (void)snprintf(pg.data, sizeof pg.data, "%s/data", pg.server.folder);
    pg.port = server_free_port();
    (void)snprintf(pg.conninfo, sizeof pg.conninfo,
                   "host=127.0.0.1 port=%d user=app password=" PG_SECRET
                   " dbname=postgres sslmode=disable", pg.port);
    (void)snprintf(pg.admin, sizeof pg.admin, "host=%s port=%d user=kp dbname=postgres",
                   pg.server.folder, pg.port);
    if (server_run(&pg.server, argv) != 0 || pg_let_in() != 0 || pg_certify("server") != 0 ||
        pg_certify("other") != 0 || pg_start() != 0)
        return -1;
    return (int)pg_ask("CREATE ROLE app LOGIN PASSWORD '" PG_SECRET "';"
                       "CREATE ROLE stranger LOGIN PASSWORD 'another'; CREATE ROLE ward;"
                       "GRANT ward TO app");
}

static inline void pg_tear_down(void)
{
    server_end(&pg.server, SIGQUIT);
    server_remove(&pg.server);
}

static inline void pg_kill(void)
{
    server_end(&pg.server, SIGKILL);
}

#endif
