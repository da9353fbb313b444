/* SPDX-License-Identifier: MIT
 *
 * All open lanes of a pool, in the order in which their terms end, and what they reserve (lane.h).
 */
#include "core/lane.h"
#include "core/table.h"

static struct kp__subpool *first_open(const struct kp__core *core)
{
    struct kp__heap_node *top = kp__heap_top(&core->open);

    return top ? KP__OF(top, struct kp__term, node)->sub : NULL;
}

static bool ends_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__term, node)->until < KP__OF(b, struct kp__term, node)->until;
}

void kp__lanes_init(struct kp__core *core)
{
    kp__heap_init(&core->open, ends_before);
}

void kp__lane_shut_due(struct kp__core *core, uint64_t now, uint32_t most)
{
    struct kp__subpool *sub;

    kp__at(core, now);
    for (; most > 0 && (sub = first_open(core)) != NULL && sub->term->until <= now; most--) {
        kp__lane_shut(core, sub, now);
        if (sub->term->served > 0) kp__lane_open(core, sub, now);
    }
}

/* Where many are open, they leave their heap at once: one by one, each would cost a way through it.
 */
void kp__lane_shut_all(struct kp__core *core, uint64_t now)
{
    enum { MANY = 8 }; /* one of so many places for keys */
    struct kp__subpool *sub = NULL;

    if (core->open.count < core->subpools.made / MANY) {
        while ((sub = first_open(core)) != NULL) kp__lane_shut(core, sub, now);
        return;
    }
    kp__homes_take_all(core);
    kp__heap_init(&core->open, ends_before);
    while ((sub = kp__next_sub(core, sub)) != NULL) {
        if (!sub->open) continue;
        kp__heap_node_init(&sub->term->node);
        kp__lane_shut(core, sub, now);
    }
}

/* ---- limits over all keys -------------------------------------------------------------------- */

/* Where everything there is may be lent at once, a lane takes what it likes: only who creates could
 * lack something. Else it takes as many as its key has lent this very moment, and one more, and
 * leaves a quarter of all: so that other keys have lanes too, and who takes the lock mostly finds a
 * permit without one being shut. */
static int64_t idle_most(const struct kp__core *core, const struct kp__subpool *sub)
{
    int64_t left = core->lent.cap - core->lent.used, wanted = (int64_t)sub->count[KP__LENT] + 1;

    if (core->live.used <= core->lent.cap) return left;
    left -= core->lent.cap / 4;
    return wanted < left ? wanted : left;
}

int64_t kp__lane_most(const struct kp__core *core, const struct kp__subpool *sub, int state)
{
    if (state == KP__IDLE) return idle_most(core, sub);
    return core->max_idle - core->count[KP__IDLE] - core->returning;
}

static bool shut_one(struct kp__core *core)
{
    struct kp__subpool *sub = first_open(core);

    if (sub) kp__lane_shut(core, sub, core->now);
    return sub != NULL;
}

void kp__lanes_leave_lent(struct kp__core *core)
{
    while (core->lent.used >= core->lent.cap && shut_one(core)) continue;
}

bool kp__lanes_leave_idle(struct kp__core *core, uint32_t more)
{
    int64_t most = core->max_idle - more;

    while (core->count[KP__IDLE] + core->returning > most && shut_one(core)) continue;
    return core->count[KP__IDLE] <= most;
}
