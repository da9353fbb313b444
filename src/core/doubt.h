/* SPDX-License-Identifier: MIT
 *
 * Doubt about a key's resources after the peer of one of them was gone, and the keeper's tests of
 * idle ones. In doubt.c.
 */
#ifndef KP__CORE_DOUBT_H
#define KP__CORE_DOUBT_H

#include "core/core.h"

/* The driver or a borrower said of this resource, lent or tested, that its peer is gone (KP_EGONE).
 * Unless limits.on_gone is KP_OFF, it is closed when it comes back, and the others of its key are
 * in doubt now, or closed. True: others came into doubt by this. */
bool kp__peer_gone(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo);

/* Its doubt ends: it was validated or used well, or it is closed. */
void kp__doubt_end(struct kp__core *core, struct kp__slot *slot);

/* A lent one was used well: it is in doubt no more, and others may share it again. */
void kp__used_well(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo);

/* The idle one in doubt that is to be tested next, or NULL: there is none, or enough tests are
 * under way. */
struct kp__slot *kp__test_next(struct kp__core *core, struct kp__subpool *sub);

/* When the keeper validated an idle one. It means nothing unless slot->tested says that it did. */
static inline uint64_t *kp__tested_at(const struct kp__core *core, const struct kp__slot *slot)
{
    return kp__slab_part(&core->slots, slot->item.index, KP__PART_TESTED);
}

/* When an idle one was last used, or validated by the keeper. */
static inline uint64_t kp__proven_at(const struct kp__core *core, const struct kp__slot *slot)
{
    return slot->tested ? *kp__tested_at(core, slot) : slot->since;
}

/* When the keeper is to test an idle one next; KP__NEVER: it does not. */
uint64_t kp__test_at(const struct kp__core *core, const struct kp__slot *slot);

/* Is it to be tested now? If it is due but may not be tested (`may` is false, or may_test says no),
 * it is filed for later, and the answer is no. */
bool kp__test_due(struct kp__core *core, struct kp__slot *slot, uint64_t now, bool may);

/* Was it idle for so long that it is to be validated before it is lent? */
static inline bool kp__is_stale(const struct kp__core *core, const struct kp__subpool *sub,
                                uint64_t idle_ns)
{
    const struct kp__rules *r = sub->rules;

    return core->validates && (r->validate_on & KP_CHECK_GET) && idle_ns >= r->validate_after;
}

/* The test of an idle one begins: nobody can take it, and at `until` it is looked at again. */
void kp__test_begin(struct kp__core *core, struct kp__slot *slot, uint64_t now, uint64_t until);

/* The test has ended, well or not. */
void kp__tested(struct kp__core *core, struct kp__slot *slot, bool good, uint64_t now,
                struct kp__todo *todo);

#endif
