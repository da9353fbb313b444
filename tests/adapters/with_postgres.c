/* SPDX-License-Identifier: MIT
 *
 * with_postgres [--as NAME] PROGRAM [ARGUMENT...]: starts a PostgreSQL server of its own, runs the
 * program with libpq's environment variables for it, and ends the server. With a NAME, for one of
 * several: NAME is the conninfo, NAME_STOP a command that ends it. Its result is the program's; 2:
 * there was no server.
 */
#include "adapters/postgres_server.h"

static void tell(const char *name)
{
    char port[16], stop[64], stop_it[64];

    (void)snprintf(port, sizeof port, "%d", pg.port);
    (void)snprintf(stop, sizeof stop, "%s_STOP", name);
    (void)snprintf(stop_it, sizeof stop_it, "kill -QUIT %d", (int)pg.server.pid);
    if (name[0]) {
        (void)setenv(name, pg.conninfo, 1);
        (void)setenv(stop, stop_it, 1);
        return;
    }
    (void)setenv("PGHOST", "127.0.0.1", 1);
    (void)setenv("PGPORT", port, 1);
    (void)setenv("PGUSER", "app", 1);
    (void)setenv("PGDATABASE", "postgres", 1);
    (void)setenv("PGPASSWORD", PG_SECRET, 1);
}

int main(int argc, char **argv)
{
    bool named = argc > 2 && strcmp(argv[1], "--as") == 0;
    int first = named ? 3 : 1, rc = 2;

    if (argc <= first)
        return 2;
    if (pg_set_up() == 0) {
        tell(named ? argv[2] : "");
        rc = server_beside(argv + first);
    }
    pg_tear_down();
    return rc;
}
