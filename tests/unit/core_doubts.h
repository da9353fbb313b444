/* SPDX-License-Identifier: MIT
 *
 * For tests of core/doubt.c: a key with a driver.validate, a peer that is gone, and a check by the
 * keeper.
 */
#ifndef KP_TESTS_CORE_DOUBTS_H
#define KP_TESTS_CORE_DOUBTS_H

#include "core_stage.h"

enum { MOST = 8 };

/* A key that has a driver.validate, with so many idle ones. */
static inline struct kp__subpool *key_of(struct stage *s, int idle, struct kp__slot *slot[])
{
    s->core.validates = true;
    struct kp__subpool *sub = stage_key(s);

    for (int i = 0; i < idle; i++) {
        slot[i] = stage_idle(s, sub);
        s->now++;
    }
    return sub;
}

static inline struct kp__slot *lend(struct stage *s, struct kp__subpool *sub, struct kp__request *r)
{
    assert_int_equal(stage_ask(s, sub, r, 0), KP__GRANT_SLOT);
    return r->slot;
}

/* Reports that the peer of a lent one is gone. */
static inline bool gone(struct stage *s, struct kp__slot *slot)
{
    bool news = kp__peer_gone(&s->core, slot, s->now, &s->todo);

    (void)stage_destroy(s);
    stage_check(s);
    return news;
}

static inline void begin(struct stage *s, struct kp__slot *slot)
{
    kp__test_begin(&s->core, slot, s->now, KP__NEVER);
    stage_check(s);
}

static inline void end(struct stage *s, struct kp__slot *slot, bool good)
{
    kp__tested(&s->core, slot, good, s->now, &s->todo);
    stage_check(s);
    (void)stage_destroy(s);
}

#endif
