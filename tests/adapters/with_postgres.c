/* SPDX-License-Identifier: MIT
 *
 * with_postgres PROGRAM [ARGUMENT...]: starts a PostgreSQL server of its own, runs the program with
 * libpq's environment variables for it, and ends the server. Its result is the program's; 2: there
 * was no server.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/postgres_server.h"

static int run(char **argv)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        (void)execv(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv)
{
    char port[16];
    int rc = 2;

    if (argc < 2)
        return 2;
    if (pg_set_up() == 0) {
        (void)snprintf(port, sizeof port, "%d", pg.port);
        (void)setenv("PGHOST", "127.0.0.1", 1);
        (void)setenv("PGPORT", port, 1);
        (void)setenv("PGUSER", "app", 1);
        (void)setenv("PGDATABASE", "postgres", 1);
        (void)setenv("PGPASSWORD", PG_SECRET, 1);
        rc = run(argv + 1);
    }
    pg_tear_down();
    return rc;
}
