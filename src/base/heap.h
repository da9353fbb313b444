/* SPDX-License-Identifier: MIT
 *
 * An intrusive binary heap that never allocates: a complete binary tree linked by pointers. Nodes
 * are numbered from 1, level by level; the bits of a number below its highest one spell the path
 * from the root (0 left, 1 right), so the last place is found without an array. A node is two
 * words; `next` leads from a left child to its right sibling, and from the last child back to the
 * parent.
 *
 * Not synchronised. Worst-case O(log n) for insert, remove and fix; top is O(1). Equal nodes come
 * out in any order.
 */
#ifndef KP__BASE_HEAP_H
#define KP__BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

struct kp__heap_node {
    struct kp__heap_node *child;        /* the left one, or NULL */
    struct kp__heap_node *next;         /* sibling or parent; NULL at the root; itself on no heap */
};

struct kp__heap {
    struct kp__heap_node *root;
    size_t count;
    /* A strict order: never before(a, a). */
    bool (*before)(const struct kp__heap_node *a, const struct kp__heap_node *b);
};

static inline void kp__heap_init(struct kp__heap *h, bool (*before)(const struct kp__heap_node *,
                                                                    const struct kp__heap_node *))
{
    h->root = NULL;
    h->count = 0;
    h->before = before;
}

/* Every node starts here; a zeroed node would look like a root. */
static inline void kp__heap_node_init(struct kp__heap_node *n)
{
    n->child = NULL;
    n->next = n;
}

/* Is n on some heap? */
static inline bool kp__heap_holds(const struct kp__heap_node *n)
{
    return n->next != n;
}

/* The node that is before all others, or NULL. */
static inline struct kp__heap_node *kp__heap_top(const struct kp__heap *h)
{
    return h->root;
}

void kp__heap_insert(struct kp__heap *h, struct kp__heap_node *n);
void kp__heap_remove(struct kp__heap *h, struct kp__heap_node *n);

/* Put n where it belongs after its rank changed. No other node's rank may have changed since the
 * last call. */
void kp__heap_fix(struct kp__heap *h, struct kp__heap_node *n);

#endif
