/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, with the glue for epoll.
 */
#include "adapters/glue_epoll.h"
#include "adapters/redis_loop.h"

int main(void)
{
    return run_on("redis with epoll");
}
