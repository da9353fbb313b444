/* SPDX-License-Identifier: MIT
 *
 * For tests of the kit without a pool, which define functions of the library themselves: those that
 * the report of a deadlock calls. There is nothing to tell.
 */
#ifndef KEYEDPOOL_TESTS_KIT_NO_POOLS_H
#define KEYEDPOOL_TESTS_KIT_NO_POOLS_H

#include <keyedpool/stats.h>

int kp_stats_read_sized(kp_pool *pool, kp_key key, kp_stats *out, size_t size)
{
    return (void)pool, (void)key, (void)out, (void)size, KP_ECLOSED;
}

size_t kp_explain(kp_pool *pool, kp_key key, char *buf, size_t size)
{
    return (void)pool, (void)key, (void)buf, (void)size, 0;
}

#endif
