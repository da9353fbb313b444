/* SPDX-License-Identifier: MIT
 *
 * How the books of a pool begin (core.h).
 */
#include "core/core.h"

#include "core/resize.h"
#include "core/table.h"

/* The slabs of slots, of errands and of subpools, with their parts. */
static void init_slabs(struct kp__core *core)
{
    kp__slab_init(&core->slots, sizeof(struct kp__slot));
    core->slots.part_size[KP__PART_TESTED] = sizeof(uint64_t);
    kp__slab_init(&core->errands, sizeof(struct kp__errand));
    kp__slab_init(&core->subpools, sizeof(struct kp__subpool));
    core->subpools.part_size[KP__PART_DUE] = sizeof(struct kp__key_due);
    core->subpools.part_size[KP__PART_CONTEST] = sizeof(struct kp__contest);
    core->subpools.part_size[KP__PART_RARE] = sizeof(struct kp__rare);
    core->subpools.part_size[KP__PART_LANE_BOOKS] = sizeof(struct kp__lane_books);
    core->subpools.part_size[KP__PART_CIRCUIT] = sizeof(struct kp__circuit);
}

static void init_lists(struct kp__core *core)
{
    kp__list_init(&core->used_groups);
    kp__list_init(&core->spare_groups);
    kp__list_init(&core->unused);
    kp__list_init(&core->promises);
    kp__list_init(&core->held_up);
    kp__list_init(&core->drains);
}

static void init_budgets(struct kp__core *core, const struct kp__allowance *may)
{
    kp__budget_init(&core->live, KP__BY_POOL_LIVE, may->live, KP__POOL);
    kp__budget_init(&core->lent, KP__BY_POOL_LENT, may->lent, KP__LENDING);
    kp__budget_init(&core->creating, KP__BY_POOL_CREATING, may->creating, KP__MAKING);
    kp__rate_init(&core->rate, may->rate, may->burst);
    for (int g = 0; g < KP__GROUPS; g++) core->group_max_live[g] = may->group[g];
    core->max_idle = may->idle;
    core->max_waiting = may->waiting;
    core->max_keys = may->keys;
    core->evicts = may->evicts;
    core->by_arrival = may->by_arrival;
}

void kp__core_init(struct kp__core *core, const struct kp__allowance *may)
{
    core->epoch = 1;
    init_slabs(core);
    init_lists(core);
    init_budgets(core, may);
    kp__tables_init(core);
    kp__lanes_init(core);
    kp__timers_init(&core->slots_due);
    kp__timers_init(&core->keys_due);
}
