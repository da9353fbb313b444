/* SPDX-License-Identifier: MIT
 *
 * The names of what binds (limit.h).
 */
#include "core/limit.h"

const char *const kp__limit_name[KP__LIMITS] = {
    [KP__NOT_BOUND] = "",
    [KP__BY_WAIT_ORDER] = "wait_order",
    [KP__BY_LIMITS_FOR] = "limits_for",
    [KP__BY_DRIVER_CREATE] = "driver.create",
    [KP__BY_CREATION] = "create",
    [KP__BY_DESTRUCTION] = "destroy",
    [KP__BY_CREATE_TIMEOUT] = "create_timeout_ms",
    [KP__BY_DEADLINE] = "deadline",
    [KP__BY_FLAGS] = "kp_ask.flags",
    [KP__BY_MAX_LIVE] = "max_live",
    [KP__BY_MAX_LENT] = "max_lent",
    [KP__BY_MAX_CREATING] = "max_creating",
    [KP__BY_MAX_WAITING] = "max_waiting",
    [KP__BY_RETRY] = "retry_first_ms",
    [KP__BY_BREAKER] = "breaker_failures",
    [KP__BY_CACHE_FAILURE] = "cache_failure_ms",
    [KP__BY_SHED_TARGET] = "shed_target_ms",
    [KP__BY_POOL_LIVE] = "budget.max_live",
    [KP__BY_POOL_LENT] = "budget.max_lent",
    [KP__BY_POOL_IDLE] = "budget.max_idle",
    [KP__BY_POOL_CREATING] = "budget.max_creating",
    [KP__BY_POOL_WAITING] = "budget.max_waiting",
    [KP__BY_CREATE_RATE] = "budget.create_rate",
    [KP__BY_GROUP] = "budget.group_max_live",
    [KP__BY_BREAKER_RATE] = "breaker_rate_pct",
    [KP__BY_REFUSE_LATE] = "refuse_late"
};
