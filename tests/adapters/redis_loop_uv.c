/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter that never blocks, with the glue for libuv.
 */
#include "adapters/glue_uv.h"
#include "adapters/redis_loop.h"

int main(void)
{
    return run_on("redis with libuv");
}
