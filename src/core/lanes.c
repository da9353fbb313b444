/* SPDX-License-Identifier: MIT
 *
 * All open lanes of a pool, in the order in which their terms end, and what they reserve (lane.h).
 */
#include "core/lane.h"

#include "base/check.h"
#include "core/table.h"

static struct kp__subpool *first_open(const struct kp__core *core)
{
    struct kp__heap_node *top = kp__heap_top(&core->open_lanes);

    return top ? KP__OF(top, struct kp__lane_books, node)->sub : NULL;
}

static bool ends_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__lane_books, node)->until <
           KP__OF(b, struct kp__lane_books, node)->until;
}

void kp__lanes_init(struct kp__core *core)
{
    kp__heap_init(&core->open_lanes, ends_before);
}

/* Lanes that are shut together: their homes are taken away at the price of one. */
struct together {
    struct kp__subpool *sub[KP__TOGETHER];
    uint32_t many;
};

static void shut(struct kp__core *core, struct together *t, uint64_t now)
{
    kp__homes_take(core, t->sub, t->many);
    for (uint32_t i = 0; i < t->many; i++) kp__lane_shut(core, t->sub[i], now);
}

/* Move the open lane whose term ends first from the heap to `t`, if it ends by `end`. */
static bool first_ends_by(struct kp__core *core, struct together *t, uint64_t end)
{
    struct kp__subpool *sub = first_open(core);

    if (!sub || sub->lane_books->until > end) return false;
    kp__heap_remove(&core->open_lanes, &sub->lane_books->node);
    t->sub[t->many++] = sub;
    return true;
}

static void shut_first(struct kp__core *core, struct together *t, uint64_t end, uint32_t most,
                       uint64_t now)
{
    t->many = 0;
    while (t->many < most && first_ends_by(core, t, end)) continue;
    shut(core, t, now);
}

void kp__lane_shut_due(struct kp__core *core, uint64_t now, uint32_t most)
{
    struct together t;

    KP__DCHECK(most <= KP__TOGETHER);
    kp__note_time(core, now);
    shut_first(core, &t, now, most, now);
    for (uint32_t i = 0; i < t.many; i++)
        if (t.sub[i]->lane_books->served > 0) kp__lane_open(core, t.sub[i], now);
}

/* Where many are open, the heap is emptied at once: removing one costs a walk down the heap. */
static void shut_many(struct kp__core *core, uint64_t now)
{
    struct together t = { .many = 0 };
    struct kp__subpool *sub = NULL;

    kp__heap_init(&core->open_lanes, ends_before);
    while ((sub = kp__next_sub(core, sub)) != NULL) {
        if (!sub->open) continue;
        kp__heap_node_init(&sub->lane_books->node);
        t.sub[t.many++] = sub;
        if (t.many < KP__TOGETHER) continue;
        shut(core, &t, now);
        t.many = 0;
    }
    shut(core, &t, now);
}

static void shut_few(struct kp__core *core, uint64_t now)
{
    struct together t;

    do shut_first(core, &t, KP__NEVER, KP__TOGETHER, now);
    while (t.many > 0);
}

void kp__lane_shut_all(struct kp__core *core, uint64_t now)
{
    enum { MANY = 8 }; /* many: one open lane for so many places of keys */

    if (core->open_lanes.count < core->subpools.made / MANY) shut_few(core, now);
    else shut_many(core, now);
}

/* ---- limits over all keys -------------------------------------------------------------------- */

/* Where everything that is live may be lent at once, a lane takes a permit for each of its idle
 * ones: only a request that creates could then lack one. Otherwise it takes as many as its key has
 * lent right now, and one more, and leaves a quarter of all permits: so that other keys have lanes,
 * too, and a thread with the lock mostly finds a permit without having a lane shut. */
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

    if (sub) kp__lane_shut(core, sub, core->latest);
    return sub != NULL;
}

void kp__lanes_yield_lent(struct kp__core *core)
{
    while (kp__budget_is_full(&core->lent) && shut_one(core)) continue;
}

bool kp__lanes_yield_idle(struct kp__core *core, uint32_t more)
{
    int64_t most = core->max_idle - more;

    while (core->count[KP__IDLE] + core->returning > most && shut_one(core)) continue;
    return core->count[KP__IDLE] <= most;
}
