/* SPDX-License-Identifier: MIT
 *
 * The causes of destroyed resources as events report them, to be compared with the counters.
 */
#ifndef KP_TESTS_CAUSES_H
#define KP_TESTS_CAUSES_H

#include "keyedpool.h"

#define X(name, counter, sentence) +1
enum { CAUSES = 1 KP_CAUSE_MAP(X) };
#undef X

struct causes {
    unsigned count[CAUSES];
    kp_cause last;
};

/* False: the event names a cause although it should not, or the other way round. */
static KP_MAYBE_UNUSED bool causes_hear(struct causes *c, const kp_event *event)
{
    if (event->kind != KP_EVENT_DESTROYED && event->kind != KP_EVENT_DESTROY_FAILED)
        return event->cause == KP_CAUSE_NONE;
    c->last = event->cause;
    c->count[event->cause]++;
    return event->cause != KP_CAUSE_NONE;
}

/* To be called while none is being destroyed. NULL: they agree; else the counter that does not. */
static KP_MAYBE_UNUSED const char *causes_differ(const struct causes *c, const kp_stats *s)
{
    kp_stats told = { 0 };
    uint64_t all = 0;

#define X(name, counter, sentence)                                                                 \
    told.counter += c->count[KP_CAUSE_##name];                                                     \
    all += c->count[KP_CAUSE_##name];
    KP_CAUSE_MAP(X)
#undef X
    told.destroys = all;
#define X(name, counter, sentence)                                                                 \
    if (s->counter != told.counter) return #counter;
    KP_CAUSE_MAP(X)
#undef X
    return NULL;
}

#endif
