/* SPDX-License-Identifier: MIT
 *
 * Doubts of a key's resources after one of its peers was gone, and tests of idle ones by the
 * keeper. In doubt.c.
 */
#ifndef KP__CORE_DOUBT_H
#define KP__CORE_DOUBT_H

#include "core/core.h"

/* This one, lent or tested, said that its peer is gone (KP_EGONE): it goes when it comes back, and
 * the others of its key are in doubt now, or go. True: they are, and were not before. */
bool kp__peer_gone(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo);

/* It was validated, or used well; or it goes. */
void kp__doubt_end(struct kp__core *core, struct kp__slot *slot);
/* It was used well, and is lent: it is in doubt no more, and others may share it again. */
void kp__used_well(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo);

/* The idle one in doubt that is to be tested next, or NULL: none is, or enough are under way. */
struct kp__slot *kp__test_next(struct kp__core *core, struct kp__subpool *sub);

/* When an idle one was validated by the keeper, if it was; when it was last used or validated; when
 * it is to be tested. */
uint64_t kp__tested_at(const struct kp__core *core, const struct kp__slot *slot);
static inline uint64_t kp__proven_at(const struct kp__core *core, const struct kp__slot *slot)
{
    return slot->tested ? kp__tested_at(core, slot) : slot->since;
}
uint64_t kp__test_at(const struct kp__core *core, const struct kp__slot *slot);
/* Is it to be tested now? If so, but it may not be (`may` is false, or too many are), it is filed
 * for later, and the answer is no. */
bool kp__test_due(struct kp__core *core, struct kp__slot *slot, uint64_t now, bool may);

/* Was it idle for so long that it is to be validated before it is lent? */
static inline bool kp__is_stale(const struct kp__core *core, const struct kp__subpool *sub,
                                uint64_t idle_ns)
{
    const struct kp__rules *r = sub->rules;

    return core->validates && (r->validate_on & KP_CHECK_GET) && idle_ns >= r->validate_after;
}

/* The test of an idle one begins: nobody can take it, and at `until` it is looked at again. And how
 * the test ended. */
void kp__test_begin(struct kp__core *core, struct kp__slot *slot, uint64_t now, uint64_t until);
void kp__tested(struct kp__core *core, struct kp__slot *slot, bool good, uint64_t now,
                struct kp__todo *todo);

#endif
