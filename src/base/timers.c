/* SPDX-License-Identifier: MIT
 *
 * The timers of timers.h: a few lines of those that came in order, and a heap of the others.
 */
#include "base/timers.h"

static bool before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__timer, node)->at < KP__OF(b, struct kp__timer, node)->at;
}

static void set_first(struct kp__timers *timers, struct kp__timer *first)
{
    timers->first = first;
    timers->next = first ? first->at : UINT64_MAX;
}

void kp__timers_init(struct kp__timers *timers)
{
    set_first(timers, NULL);
    for (int i = 0; i < KP__TIMER_LINES; i++) kp__list_init(&timers->line[i]);
    kp__list_init(&timers->never);
    kp__heap_init(&timers->others, before);
}

static struct kp__timer *of(struct kp__list *link)
{
    return KP__OF(link, struct kp__timer, link);
}

static struct kp__timer *find_first(const struct kp__timers *timers)
{
    struct kp__heap_node *top = kp__heap_top(&timers->others);
    struct kp__timer *first = top ? KP__OF(top, struct kp__timer, node) : NULL;

    for (int i = 0; i < KP__TIMER_LINES; i++) {
        if (kp__list_empty(&timers->line[i])) continue;
        struct kp__timer *head = of(timers->line[i].next);
        if (!first || head->at < first->at) first = head;
    }
    return first;
}

void kp__timers_remove(struct kp__timers *timers, struct kp__timer *timer)
{
    if (!kp__timer_is_filed(timer)) return;
    if (timer->lined) kp__list_remove(&timer->link);
    else kp__heap_remove(&timers->others, &timer->node);
    *timer = (struct kp__timer){ .at = 0 };
    if (timers->first == timer) set_first(timers, find_first(timers));
}

void kp__timers_mute(struct kp__timers *timers, struct kp__timer *timer)
{
    kp__timers_remove(timers, timer);
    *timer = (struct kp__timer){ .at = KP__TIMER_NEVER, .lined = true }; /* alone on its link */
    kp__list_init(&timer->link);
}

/* The first line that holds nothing later. So what stands in line n is of a shorter span than what
 * stood at the end of line n - 1 then: as many spans as there are lines never need the heap. NULL:
 * it fits into none. */
static struct kp__list *line_for(struct kp__timers *timers, uint64_t at)
{
    if (at == KP__TIMER_NEVER) return &timers->never;
    for (int i = 0; i < KP__TIMER_LINES; i++) {
        struct kp__list *line = &timers->line[i];
        if (kp__list_empty(line) || of(line->prev)->at <= at) return line;
    }
    return NULL;
}

void kp__timers_file(struct kp__timers *timers, struct kp__timer *timer, uint64_t at)
{
    if (at > KP__TIMER_NEVER) at = KP__TIMER_NEVER;
    if (timer->at == at && at != KP__TIMER_NEVER) return; /* else it may be muted */
    kp__timers_remove(timers, timer);
    struct kp__list *line = line_for(timers, at);
    *timer = (struct kp__timer){ .at = at & KP__TIMER_NEVER, .lined = line != NULL };
    if (line) {
        kp__list_init(&timer->link);
        kp__list_push_back(line, &timer->link);
    } else {
        kp__heap_node_init(&timer->node);
        kp__heap_insert(&timers->others, &timer->node);
    }
    if (at != KP__TIMER_NEVER && at < timers->next) set_first(timers, timer);
}

struct kp__timer *kp__timers_any(const struct kp__timers *timers)
{
    if (timers->first) return timers->first;
    return kp__list_empty(&timers->never) ? NULL : of(timers->never.next);
}
