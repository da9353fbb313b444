/* SPDX-License-Identifier: MIT
 *
 * For tests of core/renew.c: a key whose resources age, a look of the keeper at one, and its
 * replacement.
 */
#ifndef KP_TESTS_CORE_AGES_H
#define KP_TESTS_CORE_AGES_H

#include "core_stage.h"
#include "core/renew.h"

enum { AGE = 1000, AHEAD = 100 };

/* A key whose resources live for 1,000 and are to be replaced 100 before their end. */
static inline struct kp__subpool *ageing_key(struct stage *s)
{
    s->rules.max_age = AGE;
    s->rules.age_check = KP_CHECK_KEEPER;
    s->rules.renew_ahead = AHEAD;
    s->rules.surplus = 1;
    return stage_key(s);
}

/* One that was lent and given back. */
static inline struct kp__slot *used(struct stage *s, struct kp__subpool *sub)
{
    struct kp__slot *slot = stage_lend(s, sub);

    stage_give(s, slot, 0, true);
    return slot;
}

/* What the keeper does when a slot is due and was taken off the calendar. */
static inline bool look(struct stage *s, struct kp__slot *slot)
{
    kp__unfile_slot(&s->core, slot);
    bool closed = kp__age(&s->core, slot, s->now, &s->todo);

    assert_int_equal(closed, slot->state == KP__CLOSING);
    stage_check(s);
    return closed;
}

/* Begins a replacement. */
static inline struct kp__slot *replace(struct stage *s, struct kp__subpool *sub)
{
    assert_true(kp__renewal_wanted(sub));
    assert_true(kp__renew_permit(&s->core, sub, s->now));
    struct kp__slot *slot = stage_spend(s, sub);
    kp__errand_of(slot)->renews = true;
    return slot;
}

#endif
