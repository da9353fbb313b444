/* SPDX-License-Identifier: MIT
 *
 * with_redis [--as NAME] PROGRAM [ARGUMENT...]: starts a Redis server of its own, runs the program
 * with NAME [REDIS_URL] for it, and NAME_STOP, a command that ends it; and ends the server. Its
 * result is the program's; 2: there was no server.
 */
#include "adapters/redis_server.h"

static void tell(const char *name)
{
    char url[128], stop[64], stop_it[64];

    (void)snprintf(url, sizeof url, "redis://:%s@%s", REDIS_SECRET, redis.place);
    (void)snprintf(stop, sizeof stop, "%s_STOP", name);
    (void)snprintf(stop_it, sizeof stop_it, "kill -KILL %d", (int)redis.server.pid);
    (void)setenv(name, url, 1);
    (void)setenv(stop, stop_it, 1);
}

int main(int argc, char **argv)
{
    bool named = argc > 2 && strcmp(argv[1], "--as") == 0;
    int first = named ? 3 : 1, rc = 2;

    if (argc <= first)
        return 2;
    if (redis_set_up(false) == 0) {
        tell(named ? argv[2] : "REDIS_URL");
        rc = server_beside(argv + first);
    }
    redis_tear_down();
    return rc;
}
