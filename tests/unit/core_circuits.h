/* SPDX-License-Identifier: MIT
 *
 * For tests of circuits: a key with one, which opens after two failures, for 100 ns.
 */
#ifndef KP_TESTS_CORE_CIRCUITS_H
#define KP_TESTS_CORE_CIRCUITS_H

#include "core_stage.h"

static inline struct kp__subpool *circuit(struct stage *s, uint32_t counts)
{
    s->rules.breaker_failures = 2;
    s->rules.breaker_open = 100;
    s->rules.breaker_counts = counts;
    return stage_key(s);
}

/* By two failed uses, or two failed creations that are not kept for others. */
static inline void open_it(struct stage *s, struct kp__subpool *sub)
{
    bool no_probe = false, use = sub->rules->breaker_counts & KP_BREAK_USE;

    for (int i = 0; i < 2; i++) {
        if (!use) kp__rare(&s->core, sub)->health.failures++;
        kp__outcome(&s->core, sub, use ? KP_BREAK_USE : KP_BREAK_CREATE, false, &no_probe, s->now);
    }
    kp__rare(&s->core, sub)->health.failures = 0;
    assert_true(sub->rare->health.tripped);
}

static inline enum kp__change report(struct stage *s, struct kp__slot *slot, bool ok)
{
    enum kp__change change = kp__reported(&s->core, slot, 0, ok ? 0 : -1, s->now, &s->todo);

    stage_check(s);
    return change;
}

#endif
