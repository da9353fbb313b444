/* SPDX-License-Identifier: MIT
 *
 * Intrusive doubly linked lists. A list is a ring through its head; a node on no list is a ring of
 * its own. Because both are the same struct, a node leaves its list without naming it.
 *
 * Not synchronised. Every operation is O(1). Both heads and nodes start with kp__list_init.
 */
#ifndef KP__BASE_LIST_H
#define KP__BASE_LIST_H

#include "base/check.h"

#include <stdbool.h>

struct kp__list {
    struct kp__list *prev, *next;
};

static inline void kp__list_init(struct kp__list *l)
{
    l->prev = l->next = l;
}

static inline bool kp__list_empty(const struct kp__list *l)
{
    return l->next == l;
}

/* Is n on some list? */
static inline bool kp__list_linked(const struct kp__list *n)
{
    return n->next != n;
}

/* Put n, which is on no list, in front of pos: a node, or a head (then n becomes the last). */
static inline void kp__list_insert_before(struct kp__list *pos, struct kp__list *n)
{
    KP__DCHECK(!kp__list_linked(n));
    n->prev = pos->prev;
    n->next = pos;
    pos->prev->next = n;
    pos->prev = n;
}

static inline void kp__list_push_front(struct kp__list *l, struct kp__list *n)
{
    kp__list_insert_before(l->next, n);
}

static inline void kp__list_push_back(struct kp__list *l, struct kp__list *n)
{
    kp__list_insert_before(l, n);
}

/* Take n off its list; harmless if it is on none. */
static inline void kp__list_remove(struct kp__list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    kp__list_init(n);
}

/* Put all that is on `from` behind what is on `to`. */
static inline void kp__list_move(struct kp__list *from, struct kp__list *to)
{
    if (kp__list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    kp__list_init(from);
}

/* The neighbour of n on l; of the head itself, the first or last node. NULL at the end. */
static inline struct kp__list *kp__list_next(const struct kp__list *l, const struct kp__list *n)
{
    return n->next == l ? NULL : n->next;
}

static inline struct kp__list *kp__list_prev(const struct kp__list *l, const struct kp__list *n)
{
    return n->prev == l ? NULL : n->prev;
}

static inline struct kp__list *kp__list_first(const struct kp__list *l)
{
    return kp__list_next(l, l);
}

static inline struct kp__list *kp__list_last(const struct kp__list *l)
{
    return kp__list_prev(l, l);
}

#endif
