/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter, held to what every adapter must hold to.
 */
#include "adapters/redis_conform.h"

static int fill(kp_options *options)
{
    return kp_redis_fill(&(kp_redis_options){ .password = REDIS_SECRET }, options);
}

int main(void)
{
    return run_conform("redis", fill);
}
