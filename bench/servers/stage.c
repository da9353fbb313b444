/* SPDX-License-Identifier: MIT
 *
 * The servers (stage.h), started as the tests of the adapters start theirs.
 */
#include "stage.h"

#define PG_CONNECTIONS 80               /* each way keeps its own until the end */
#include "adapters/postgres_server.h"

#include <inttypes.h>
#include <unistd.h>

#define BOUNCER "/usr/sbin/pgbouncer"   /* a folder that is not in every user's PATH */

static struct {
    struct server server;
    int port;                           /* names the socket; 0: no PgBouncer runs */
} bouncer;

static _Noreturn void fail(const char *what, const struct server *server)
{
    char path[96], line[256];
    FILE *f;

    (void)fprintf(stderr, "bench: %s\n", what);
    (void)snprintf(path, sizeof path, "%s/log", server->folder);
    f = server->folder[0] ? fopen(path, "r") : NULL;
    while (f && fgets(line, sizeof line, f))
        (void)fputs(line, stderr);
    exit(1);
}

/* Pools by transaction, not by session: eight sessions would keep the eight connections for
 * ever. */
static int bouncer_configure(void)
{
    char path[96];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/bouncer.ini", bouncer.server.folder);
    f = fopen(path, "w");
    if (!f)
        return -1;
    (void)fprintf(f, "[databases]\npostgres = host=%s port=%d user=app\n", pg.server.folder,
                  pg.port);
    (void)fprintf(f, "[pgbouncer]\nunix_socket_dir = %s\nlisten_port = %d\nauth_type = any\n",
                  bouncer.server.folder, bouncer.port);
    (void)fprintf(f, "pool_mode = transaction\ndefault_pool_size = %d\nmax_client_conn = %d\n",
                  CONNECTIONS, CLIENTS + 1);
    return fclose(f);
}

static void bouncer_open(void)
{
    char *argv[] = { BOUNCER, "bouncer.ini", NULL };

    if (access(BOUNCER, X_OK) != 0) {
        (void)fprintf(stderr, "bench: no " BOUNCER " here: apt-get install pgbouncer\n");
        return;
    }
    if (server_folder(&bouncer.server) != 0)
        fail("no folder for PgBouncer", &bouncer.server);
    bouncer.port = server_free_port();
    if (bouncer_configure() != 0 || server_start(&bouncer.server, argv) != 0 ||
        server_await(&bouncer.server, "process up", 30000) != 0)
        fail("PgBouncer did not start", &bouncer.server);
}

void stage_open(void)
{
    if (atexit(stage_close) != 0 || pg_set_up() != 0)
        fail("PostgreSQL did not start", &pg.server);
    bouncer_open();
}

void stage_close(void)
{
    server_end(&bouncer.server, SIGTERM);
    server_remove(&bouncer.server);
    pg_tear_down();
}

bool stage_has_bouncer(void)
{
    return bouncer.port != 0;
}

void stage_conninfo(bool by_bouncer, const char *name, char *buf, size_t size)
{
    (void)snprintf(buf, size, "host=%s port=%d user=app dbname=postgres application_name=%s",
                   by_bouncer ? bouncer.server.folder : pg.server.folder,
                   by_bouncer ? bouncer.port : pg.port, name);
}

long stage_ask(const char *sql)
{
    return pg_ask(sql);
}

/* ---- time of processors ---------------------------------------------------------------------- */

static uint64_t process_ns(long pid)
{
    uint64_t ns = 0;
    char path[64];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%ld/schedstat", pid);
    f = fopen(path, "r");
    if (f && fscanf(f, "%" SCNu64, &ns) != 1)
        ns = 0;
    if (f)
        (void)fclose(f);
    return ns;
}

/* The CPU time that a process has used since the last call. */
static uint64_t process_fresh_ns(long pid)
{
    static struct { long pid; uint64_t ns; } seen[2 * PG_CONNECTIONS];
    enum { SEEN = sizeof seen / sizeof *seen };
    static size_t oldest;
    uint64_t ns = process_ns(pid), before;
    size_t i = 0;

    while (i < SEEN && seen[i].pid != pid) i++;
    if (i == SEEN) {
        i = oldest++ % SEEN;
        seen[i].pid = pid;
        seen[i].ns = 0;
    }
    before = seen[i].ns;
    seen[i].ns = ns;
    return ns > before ? ns - before : 0;
}

/* Processes come and go, so their increments are added up. */
uint64_t stage_server_ns(void)
{
    static uint64_t sum;
    long pid = (long)pg.server.pid;
    char path[64];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", pid, pid);
    sum += process_fresh_ns(pid);
    f = fopen(path, "r");
    while (f && fscanf(f, "%ld", &pid) == 1)
        sum += process_fresh_ns(pid);
    if (f)
        (void)fclose(f);
    return sum;
}

uint64_t stage_bouncer_ns(void)
{
    return bouncer.port ? process_ns((long)bouncer.server.pid) : 0;
}
