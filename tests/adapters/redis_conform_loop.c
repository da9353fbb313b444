/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, held to what every adapter must hold to: its driver runs on
 * an event loop, and threads wait for what it makes.
 */
#include "adapters/conform_loop.h"
#include "adapters/redis_conform.h"

static int fill(kp_options *options)
{
    kp_redis_options o = { .password = REDIS_SECRET, .watcher = &conform_loop.epoll.watcher };

    options->loop = conform_loop.epoll.loop;
    return kp_redis_fill(&o, options);
}

int main(void)
{
    int failed;

    conform_loop_start();
    failed = run_conform("redis on a loop", fill);
    conform_loop_stop();
    return failed;
}
