/* SPDX-License-Identifier: MIT
 *
 * Timers: a list of those who came in order, and a heap of the others.
 */
#include "base/timers.h"

_Static_assert(offsetof(struct kp__timer, listed) ==
                   offsetof(struct kp__timer, node) + offsetof(struct kp__heap_node, right),
               "no node is its own right child");

static bool before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__timer, node)->at < KP__OF(b, struct kp__timer, node)->at;
}

void kp__timers_init(struct kp__timers *timers)
{
    kp__list_init(&timers->in_order);
    kp__list_init(&timers->never);
    kp__heap_init(&timers->others, before);
}

static struct kp__timer *of(struct kp__list *link)
{
    return link ? KP__OF(link, struct kp__timer, link) : NULL;
}

void kp__timers_remove(struct kp__timers *timers, struct kp__timer *timer)
{
    if (!kp__timer_is_filed(timer)) return;
    if (timer->listed == timer) kp__list_remove(&timer->link);
    else kp__heap_remove(&timers->others, &timer->node);
    timer->at = 0;
}

void kp__timers_file(struct kp__timers *timers, struct kp__timer *timer, uint64_t at)
{
    if (timer->at == at) return;
    kp__timers_remove(timers, timer);
    timer->at = at;
    struct kp__list *list = at == KP__TIMER_NEVER ? &timers->never : &timers->in_order;
    const struct kp__timer *last = of(kp__list_last(list));
    if (last && at < last->at) {
        kp__heap_node_init(&timer->node);
        kp__heap_insert(&timers->others, &timer->node);
    } else {
        timer->listed = timer;
        kp__list_init(&timer->link);
        kp__list_push_back(list, &timer->link);
    }
}

struct kp__timer *kp__timers_first(const struct kp__timers *timers)
{
    struct kp__timer *first = of(kp__list_first(&timers->in_order));
    struct kp__heap_node *top = kp__heap_top(&timers->others);
    struct kp__timer *other = top ? KP__OF(top, struct kp__timer, node) : NULL;

    if (first && other) return other->at < first->at ? other : first;
    if (other) return other;
    return first ? first : of(kp__list_first(&timers->never));
}
