/* SPDX-License-Identifier: MIT
 *
 * All open lanes of a pool, in the order in which their terms end (lane.h).
 */
#include "core/core.h"
#include "core/lane.h"

static struct kp__subpool *first_open(const struct kp__core *core)
{
    struct kp__heap_node *top = kp__heap_top(&core->open);

    return top ? KP__OF(top, struct kp__subpool, term) : NULL;
}

static bool ends_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__subpool, term)->until < KP__OF(b, struct kp__subpool, term)->until;
}

void kp__lanes_init(struct kp__core *core)
{
    kp__heap_init(&core->open, ends_before);
}

uint64_t kp__lane_next(const struct kp__core *core)
{
    const struct kp__subpool *first = first_open(core);

    return first ? first->until : KP__NEVER;
}

void kp__lane_shut_due(struct kp__core *core, uint64_t now, uint32_t most)
{
    struct kp__subpool *sub;

    for (; most > 0 && (sub = first_open(core)) != NULL && sub->until <= now; most--) {
        kp__lane_shut(core, sub, now);
        if (sub->served > 0) kp__lane_open(core, sub, now);
    }
}

/* Where many are open, they leave their heap at once: one by one, each would cost a way through it.
 */
void kp__lane_shut_all(struct kp__core *core, uint64_t now)
{
    enum { MANY = 8 }; /* one of so many keys */
    struct kp__subpool *sub;
    struct kp__list *node;

    if (core->open.count < core->key_count / MANY) {
        while ((sub = first_open(core)) != NULL) kp__lane_shut(core, sub, now);
        return;
    }
    kp__heap_init(&core->open, ends_before);
    for (node = kp__list_first(&core->all); node; node = kp__list_next(&core->all, node)) {
        sub = KP__OF(node, struct kp__subpool, all);
        kp__heap_node_init(&sub->term);
        if (sub->open) kp__lane_shut(core, sub, now);
    }
}
