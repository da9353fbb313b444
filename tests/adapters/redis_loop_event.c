/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, with the glue for libevent.
 */
#include "adapters/glue_event.h"
#include "adapters/redis_loop.h"

int main(void)
{
    return run_on("redis with libevent");
}
