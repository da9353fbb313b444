/* SPDX-License-Identifier: MIT
 *
 * Doubt: when the peer of one resource is gone (KP_EGONE), others of its key may be dead, too. Each
 * of them is in doubt until it was validated or used well, and while any is, the key is suspect. A
 * resource in doubt is lent only after it was validated (flow/check.c), no matter how long it was
 * idle, and the keeper tests those that are idle. When a second one is gone, those still in doubt
 * are closed. And tests: the keeper has idle resources validated (flow/doubt.c).
 */
#include "base/check.h"
#include "core/calendar.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/renew.h"
#include "core/serve.h"
#include "core/todo.h"

/* ---- suspects -------------------------------------------------------------------------------- */

void kp__doubt_end(struct kp__core *core, struct kp__slot *slot)
{
    if (!slot->doubted) return;
    slot->doubted = false;
    kp__rare(core, slot->sub)->doubts--;
}

void kp__used_well(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo)
{
    if (!slot->doubted) return;
    kp__doubt_end(core, slot);
    kp__open_seats(core, slot);
    kp__settle(core, slot->sub, now, todo);
}

/* The other resources of its key come into doubt. None is so far: if any were, they have just been
 * dropped. */
static void doubt_others(struct kp__core *core, const struct kp__slot *gone)
{
    for (int i = 0; i < KP__HOLDINGS; i++) {
        struct kp__slot *slot = NULL;
        while ((slot = kp__next_slot(kp__holding(gone->sub, i), slot)) != NULL) {
            if (slot == gone || slot->errand->doomed) continue;
            slot->doubted = true;
            kp__rare(core, slot->sub)->doubts++;
            kp__close_seats(slot); /* those who share it already go on */
        }
    }
}

/* Those of the others that are in doubt are closed, or doomed. */
static void drop_others(struct kp__core *core, const struct kp__slot *gone, struct kp__todo *todo)
{
    for (int i = 0; i < KP__HOLDINGS; i++) {
        const struct kp__list *list = kp__holding(gone->sub, i);
        struct kp__list *node = kp__list_first(list), *next;
        for (; node; node = next) {
            struct kp__slot *slot = KP__OF(node, struct kp__slot, link);
            next = kp__list_next(list, node);
            if (slot != gone && slot->doubted) (void)kp__doom(core, slot, KP_CAUSE_GONE, todo);
        }
    }
}

/* One peer is gone: what that means for the others. True: they came into doubt now, and were
 * dropped at once if they are not to be tested. */
static bool spread(struct kp__core *core, const struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;

    if (sub->rare->doubts > 0) drop_others(core, slot, todo); /* the second peer gone */
    if (slot->doubted) return false;
    doubt_others(core, slot);
    if (sub->rare->doubts == 0) return false; /* there are no others */
    if (core->validates && sub->rules->on_gone == KP_GONE_TEST) kp__file_sub(core, sub, now);
    else drop_others(core, slot, todo);
    return true;
}

bool kp__peer_gone(struct kp__core *core, struct kp__slot *slot, uint64_t now,
                   struct kp__todo *todo)
{
    kp__note_time(core, now);
    if (slot->sub->open) kp__lane_shut(core, slot->sub, now);
    /* of one that is to be closed already, that says nothing about others */
    if (slot->sub->rules->on_gone == KP_OFF || slot->errand->doomed) return false;
    bool suspect = spread(core, slot, now, todo);
    (void)kp__doom(core, slot, KP_CAUSE_GONE, todo);
    return suspect;
}

/* ---- tests ----------------------------------------------------------------------------------- */

struct kp__slot *kp__test_next(struct kp__core *core, struct kp__subpool *sub)
{
    struct kp__slot *slot = NULL;

    if (core->phase != KP__OPEN || sub->rare->doubts == 0 ||
        (int64_t)sub->rare->tests >= sub->rules->max_creating)
        return NULL;
    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__IDLE), slot)) != NULL && !slot->doubted)
        continue;
    return slot;
}

/* Each resource has its own time between tests, up to a quarter shorter than the rule's: so those
 * that were made together are not tested together. */
uint64_t kp__test_at(const struct kp__core *core, const struct kp__slot *slot)
{
    enum { QUARTER = 4, STEPS = 65536, BITS = 16 };
    uint64_t every = core->validates ? slot->sub->rules->validate_every : KP__NEVER;
    uint64_t step = slot->serial * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BITS);

    if (every == KP__NEVER) return KP__NEVER;
    return kp__later(kp__proven_at(core, slot), every - every / QUARTER / STEPS * step);
}

/* Nobody is to wait for a resource because it is being tested: so the last idle one is not tested
 * while others are, and none is tested while somebody waits for anything. */
static bool may_test(const struct kp__core *core, const struct kp__subpool *sub)
{
    uint32_t tests = sub->rare->tests;

    return core->phase == KP__OPEN && core->starved == 0 && sub->waiting == 0 &&
           (tests == 0 || sub->count[KP__IDLE] > 1) &&
           (int64_t)tests < sub->rules->max_creating && (int64_t)core->tests < core->creating.cap;
}

bool kp__test_due(struct kp__core *core, struct kp__slot *slot, uint64_t now, bool may)
{
    enum { SOON = 16 }; /* one part in so many of the time between tests */

    if (slot->state != KP__IDLE || now < kp__test_at(core, slot)) return false;
    if (may && may_test(core, slot->sub)) return true;
    kp__file_slot_at(core, slot, now + slot->sub->rules->validate_every / SOON);
    return false;
}

void kp__test_begin(struct kp__core *core, struct kp__slot *slot, uint64_t now, uint64_t until)
{
    kp__note_time(core, now);
    kp__slot_test(core, slot);
    kp__file_slot_at(core, slot, until);
    kp__file_age(core, slot);
}

void kp__tested(struct kp__core *core, struct kp__slot *slot, bool good, uint64_t now,
                struct kp__todo *todo)
{
    struct kp__subpool *sub = slot->sub;
    kp_cause why = kp__end_cause(core, slot, good ? KP_CAUSE_NONE : KP_CAUSE_INVALID, now);

    kp__note_time(core, now);
    if (why) {
        slot->cause = (uint8_t)why;
        kp__slot_tested(core, slot, KP__CLOSING);
        kp__list_push_back(&todo->doomed, &slot->link);
    }
    if (sub->rare->doubts > 0) kp__file_sub(core, sub, now); /* to test the next */
    if (why) {
        kp__stays_no_more(core, sub, now, todo);
        return;
    }
    kp__doubt_end(core, slot);
    kp__slot_back(core, slot);
    kp__file_age(core, slot); /* by rules that may be new */
    slot->tested = true;
    *kp__tested_at(core, slot) = now;
    kp__settle(core, sub, now, todo);
    kp__drop_surplus(core, slot, todo);
    if (slot->state == KP__IDLE) kp__file_slot(core, slot);
    if (kp__sub_live(sub) <= sub->rules->min_live) kp__file_forget(core, sub);
}
