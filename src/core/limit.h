/* SPDX-License-Identifier: MIT
 *
 * What binds: the option, or what is under way, that keeps a request from going on. Budgets and
 * circuits know theirs; a request has that of the latest look at it, and a time-out names it.
 */
#ifndef KP__CORE_LIMIT_H
#define KP__CORE_LIMIT_H

enum kp__limit {
    KP__NOT_BOUND,
    KP__BY_WAIT_ORDER,
    KP__BY_LIMITS_FOR,
    KP__BY_DRIVER_CREATE,
    KP__BY_CREATION,
    KP__BY_DESTRUCTION,
    KP__BY_CREATE_TIMEOUT,
    KP__BY_DEADLINE,
    KP__BY_FLAGS,
    KP__BY_MAX_LIVE,
    KP__BY_MAX_LENT,
    KP__BY_MAX_CREATING,
    KP__BY_MAX_WAITING,
    KP__BY_RETRY,
    KP__BY_BREAKER,
    KP__BY_CACHE_FAILURE,
    KP__BY_SHED_TARGET,
    KP__BY_POOL_LIVE,
    KP__BY_POOL_LENT,
    KP__BY_POOL_IDLE,
    KP__BY_POOL_CREATING,
    KP__BY_POOL_WAITING,
    KP__BY_CREATE_RATE,
    KP__BY_GROUP,
    KP__BY_BREAKER_RATE,
    KP__BY_REFUSE_LATE,
    KP__LIMITS
};

/* As users read it (kp_why.limit). */
extern const char *const kp__limit_name[KP__LIMITS];

#endif
