/* SPDX-License-Identifier: MIT
 *
 * The table of keys: find, make, rule, drop; flow/find.c calls it. And the groups of keys that
 * share a live budget.
 */
#include "base/check.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/permit.h"
#include "core/table.h"

static uint64_t hash_of_key(const struct kp__map_node *node)
{
    return KP__OF(node, struct kp__subpool, node)->hash;
}

struct kp__subpool *kp__table_find(struct kp__core *core, uint64_t hash,
                                   bool (*same)(const struct kp__map_node *, const void *),
                                   const void *ctx)
{
    struct kp__map_node *node = kp__map_find(&core->keys, hash, same, ctx);

    return node ? KP__OF(node, struct kp__subpool, node) : NULL;
}

struct kp__subpool *kp__table_make(struct kp__core *core, uint64_t hash)
{
    struct kp__subpool *sub;

    if (!kp__map_room(&core->keys) || (sub = kp__slab_take(&core->subpools)) == NULL) return NULL;
    kp__subpool_init(core, sub, hash);
    kp__map_insert(&core->keys, &sub->node);
    core->key_count++;
    core->keys_made++;
    return sub;
}

struct kp__subpool *kp__next_sub(const struct kp__core *core, const struct kp__subpool *after)
{
    uint32_t place = after ? after->item.index + 1 : 0;
    struct kp__subpool *sub;

    do sub = kp__slab_at(&core->subpools, place++);
    while (sub && !sub->in_use);
    return sub;
}

/* What a key has is counted in one group, and no longer in the other; NULL: in none. */
static void recount(struct kp__core *core, struct kp__subpool *sub, int which,
                    struct kp__group *old, struct kp__group *group)
{
    int64_t live = kp__sub_live(sub), closing = sub->count[KP__CLOSING];

    kp__contest(core, sub)->share.start[KP__GROUP_0 + which].bout = 0;
    if (old) {
        old->budget.used -= live;
        old->budget.closing -= closing;
    }
    if (!group) return;
    group->budget.used += live;
    group->budget.closing += closing;
    /* as if the group's budget had been lowered */
    if (group->budget.used + sub->contest->promised > group->budget.cap) core->shrunk = true;
}

/* A key has left. If that was the last one, the group is spare. */
static void leave(struct kp__core *core, struct kp__group *group)
{
    if (--group->keys > 0) return;
    KP__DCHECK(group->budget.used == 0);
    kp__map_remove(&core->groups, &group->node);
    kp__list_remove(&group->link);
    kp__list_push_back(&core->spare_groups, &group->link);
}

/* The key counts in another group from now on, or in none: what it has moves with it. So does what
 * is promised, see kp__table_rule. */
static void join(struct kp__core *core, struct kp__subpool *sub, int which, struct kp__group *group)
{
    struct kp__group *old = sub->contest->group[which];

    if (old == group) return;
    struct kp__contest *contest = kp__contest(core, sub);
    struct kp__heap_node *evict = &contest->evict[KP__GROUP_0 + which].node;
    if (kp__heap_holds(evict)) kp__heap_remove(&old->budget.evictable, evict);
    contest->group[which] = group;
    if (which != KP__PAIR) recount(core, sub, which, old, group);
    if (group) group->keys++;
    if (old) leave(core, old);
}

/* What all keys together are to keep. */
static void add_up(struct kp__core *core, const struct kp__rules *rules, int64_t sign)
{
    if (!rules) return;
    core->minima += sign * rules->min_live;
    core->floors += sign * rules->floor;
}

void kp__table_rule(struct kp__core *core, struct kp__subpool *sub, struct kp__rules *rules,
                    struct kp__group *group[KP__GROUPS_AND_PAIR])
{
    kp__account(core, sub); /* by the old weight */
    kp__note_lack(core, sub, NULL);
    add_up(core, sub->rules, -1);
    add_up(core, rules, 1);
    if (sub->rules) sub->rules->refs--;
    sub->rules = rules;
    rules->refs++;
    if (!kp__breaks(rules, KP_BREAK_CREATE | KP_BREAK_USE)) kp__circuit_forgive(core, sub);
    kp__promises_count(core, sub, -1);
    for (int i = 0; i < KP__GROUPS_AND_PAIR; i++) join(core, sub, i, group[i]);
    kp__promises_count(core, sub, 1);
    kp__evictable_update(core, sub);
    /* a key that holds its minimum is forgotten by the time of its last use: that must be known */
    if (rules->clocked || (rules->min_live > 0 && core->forget_after != KP__NEVER))
        core->clocked = true;
}

/* Nobody uses it, it has no minimum or floor to come back to, and nothing is to be made for it. */
static bool is_spare(const struct kp__subpool *sub)
{
    return kp__subpool_unused(sub) && kp__sub_kept(sub) == 0 && !sub->refill;
}

/* A key that was used again is taken off the list here, and is put there again when it is unused:
 * so each look that finds nothing is paid for by an earlier insertion (L8). */
struct kp__subpool *kp__table_spare(struct kp__core *core)
{
    struct kp__list *first;

    while ((first = kp__list_first(&core->unused)) != NULL) {
        struct kp__subpool *sub = KP__OF(first, struct kp__key_due, unused)->sub;
        if (is_spare(sub)) return sub;
        kp__list_remove(first);
    }
    return NULL;
}

void kp__table_drop(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__list *waived;

    KP__DCHECK(kp__subpool_unused(sub) && !sub->contest->lacks);
    while ((waived = kp__list_first(&sub->rare->waived)) != NULL) {
        KP__OF(waived, struct kp__errand, victims)->victim.heir = NULL;
        kp__list_remove(waived);
    }
    kp__circuit_forgive(core, sub);
    kp__hold_up_end(core, sub);
    for (int i = 0; i < KP__GROUPS_AND_PAIR; i++) join(core, sub, i, NULL);
    kp__unfile_sub(core, sub);
    kp__lane_drop(core, sub);
    add_up(core, sub->rules, -1);
    kp__map_remove(&core->keys, &sub->node);
    sub->in_use = false;
    core->key_count--;
    core->keys_forgotten++;
    kp__let_on(core, core->latest); /* if this key was let on, the next one is */
}

/* ---- groups ---------------------------------------------------------------------------------- */

static uint64_t hash_of_group(int which, int64_t id)
{
    uint64_t h = ((uint64_t)id + (uint64_t)which * 7919) * UINT64_C(0x9e3779b97f4a7c15);

    return h ^ (h >> 31);
}

static uint64_t hash_of_member(const struct kp__map_node *node)
{
    const struct kp__group *group = KP__OF(node, struct kp__group, node);

    return hash_of_group((int)group->budget.place - KP__GROUP_0, group->id);
}

/* Of one kind, each id has a hash of its own, so a group of this hash and kind is the one. */
static bool same_kind(const struct kp__map_node *node, const void *which)
{
    return (int)KP__OF(node, struct kp__group, node)->budget.place ==
           KP__GROUP_0 + *(const int *)which;
}

struct kp__group *kp__group_find(struct kp__core *core, int which, int64_t id)
{
    struct kp__map_node *node =
        kp__map_find(&core->groups, hash_of_group(which, id), same_kind, &which);

    return node ? KP__OF(node, struct kp__group, node) : NULL;
}

int64_t kp__pair_id(const struct kp__group *a, const struct kp__group *b)
{
    return (int64_t)((uint64_t)a->serial << 32 | b->serial);
}

void kp__group_enter(struct kp__core *core, struct kp__group *group, int which, int64_t id)
{
    group->id = id;
    /* it stays with the memory: so there are never more than groups at a time */
    if (group->serial == 0) group->serial = ++core->group_serials;
    group->keys = 0;
    kp__list_init(&group->link);
    kp__list_push_back(&core->used_groups, &group->link);
    if (which == KP__PAIR)
        kp__budget_init(&group->budget, KP__NOT_BOUND, KP__UNBOUND, KP__BOTH_GROUPS);
    else
        kp__budget_init(&group->budget, KP__BY_GROUP, core->group_max_live[which],
                        (enum kp__place)(KP__GROUP_0 + which));
    kp__map_insert(&core->groups, &group->node);
}

/* ---- its beginning --------------------------------------------------------------------------- */

void kp__tables_init(struct kp__core *core)
{
    core->keys.hash = hash_of_key;
    core->groups.hash = hash_of_member;
    core->idents.hash = kp__slot_hash;
}
