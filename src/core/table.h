/* SPDX-License-Identifier: MIT
 *
 * All keys of a pool, and its groups: found, made, ruled, dropped (table.c).
 */
#ifndef KP__CORE_TABLE_H
#define KP__CORE_TABLE_H

#include "core/core.h"

/* The tables of keys, groups and resources. */
void kp__tables_init(struct kp__core *core);

/* The subpool of a key, or NULL; `same` compares. */
struct kp__subpool *kp__table_find(struct kp__core *core, uint64_t hash,
                                   bool (*same)(const struct kp__map_node *, const void *),
                                   const void *ctx);

/* A new subpool, without key and rules yet. NULL: no room was made for it (kp__slab_wants,
 * kp__map_wants). */
struct kp__subpool *kp__table_make(struct kp__core *core, uint64_t hash);

/* Goes through all keys, in the order of their places in the slab: NULL asks for the first, and
 * means that there are no more. `after` may have been forgotten meanwhile. It looks at each place
 * that was ever a key's: not for what happens often. */
struct kp__subpool *kp__next_sub(const struct kp__core *core, const struct kp__subpool *after);

/* A key gets its rules and groups, for the first time or others. Settle afterwards: requests may
 * wait for that. If it had others, the caller still has those (struct kp__draft), and frees them if
 * nobody else has them. */
void kp__table_rule(struct kp__core *core, struct kp__subpool *sub, struct kp__rules *rules,
                    struct kp__group *group[KP__GROUPS_AND_PAIR]);

/* The key that has been unused the longest, and of which nothing is to be kept; or NULL. */
struct kp__subpool *kp__table_spare(struct kp__core *core);

/* Take an unused subpool out of the table (I9). The caller frees its key, rules and failures, and
 * the slab item after these. */
void kp__table_drop(struct kp__core *core, struct kp__subpool *sub);

/* Goes through the groups in use, and the pairs: NULL asks for the first, and means that there are
 * no more. */
static inline struct kp__group *kp__next_group(const struct kp__core *core,
                                               const struct kp__group *after)
{
    const struct kp__list *all = &core->used_groups;
    struct kp__list *node = after ? kp__list_next(all, &after->link) : kp__list_first(all);

    return node ? KP__OF(node, struct kp__group, link) : NULL;
}

struct kp__group *kp__group_find(struct kp__core *core, int which, int64_t id);
int64_t kp__pair_id(const struct kp__group *a, const struct kp__group *b); /* of group KP__PAIR */
/* `serial` must be 0 if its memory is new. */
void kp__group_enter(struct kp__core *core, struct kp__group *group, int which, int64_t id);

#endif
