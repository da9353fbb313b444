/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, held to what every adapter must hold to: its driver
 * runs on an event loop, and threads wait for what it makes.
 */
#include "adapters/conform_loop.h"
#include "adapters/postgres_conform.h"

static int fill(kp_options *options)
{
    kp_pg_options o = { .conninfo = pg.conninfo, .watcher = &conform_loop.epoll.watcher };

    options->loop = conform_loop.epoll.loop;
    return kp_pg_fill(&o, options);
}

int main(void)
{
    int failed;

    conform_loop_start();
    failed = run_conform("postgres on a loop", fill, true, 0);
    conform_loop_stop();
    return failed;
}
