/* SPDX-License-Identifier: MIT
 *
 * with_redis PROGRAM [ARGUMENT...]: starts a Redis server of its own, runs the program with
 * REDIS_URL for it, and ends the server. Its result is the program's; 2: there was no server.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/redis_server.h"

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
    char url[128];
    int rc = 2;

    if (argc < 2)
        return 2;
    if (redis_set_up(false) == 0) {
        (void)snprintf(url, sizeof url, "redis://:%s@%s", REDIS_SECRET, redis.place);
        (void)setenv("REDIS_URL", url, 1);
        rc = run(argv + 1);
    }
    redis_tear_down();
    return rc;
}
