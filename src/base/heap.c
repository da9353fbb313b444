/* SPDX-License-Identifier: MIT
 *
 * The pointer heap of heap.h: nodes trade places by relinking, for they are part of other structs
 * and cannot be copied.
 */
#include "base/heap.h"

#include "base/check.h"

static struct kp__heap_node *right_of(const struct kp__heap_node *n)
{
    return n->child && n->child->next != n ? n->child->next : NULL;
}

/* The way back leads through the sibling, unless n is the last child, or the only one. */
static struct kp__heap_node *parent_of(const struct kp__heap_node *n)
{
    struct kp__heap_node *next = n->next;

    if (!next || next->child == n || (next->child && next->child->next == n)) return next;
    return next->next;
}

static void set_children(struct kp__heap_node *n, struct kp__heap_node *left,
                         struct kp__heap_node *right)
{
    n->child = left;
    if (left) left->next = right ? right : n;
    if (right) right->next = n;
}

/* Put n in the place of `was`: below its parent, beside its sibling. n NULL: `was` is the last
 * node, and its place is removed. */
static void replace(struct kp__heap *h, const struct kp__heap_node *was, struct kp__heap_node *n)
{
    struct kp__heap_node *parent = parent_of(was);

    if (n) n->next = was->next;
    if (!parent) h->root = n;
    else if (parent->child == was) parent->child = n;
    else parent->child->next = n ? n : parent;
}

/* The node with this number, 1 being the root; 0: there is none. */
static struct kp__heap_node *at_place(const struct kp__heap *h, size_t place)
{
    struct kp__heap_node *n = place ? h->root : NULL;
    size_t bit = 1;

    while (bit <= place / 2) bit *= 2;
    while (bit /= 2) n = place & bit ? n->child->next : n->child;
    return n;
}

/* Swap n with its parent. */
static void lift(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *up = parent_of(n), *left = up->child, *right = right_of(up);
    struct kp__heap_node *below = n->child, *beside = right_of(n);

    replace(h, up, n);
    set_children(n, left == n ? up : left, right == n ? up : right);
    set_children(up, below, beside);
}

/* The child that is before the other, or NULL. */
static struct kp__heap_node *first_child(const struct kp__heap *h, const struct kp__heap_node *n)
{
    struct kp__heap_node *right = right_of(n);

    return right && h->before(right, n->child) ? right : n->child;
}

void kp__heap_fix(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *other;

    KP__DCHECK(kp__heap_holds(n));
    while ((other = parent_of(n)) != NULL && h->before(n, other)) lift(h, n);
    while ((other = first_child(h, n)) != NULL && h->before(other, n)) lift(h, other);
}

void kp__heap_insert(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *parent = at_place(h, ++h->count / 2);

    KP__DCHECK(!kp__heap_holds(n));
    n->next = NULL;
    if (!parent) h->root = n;
    else set_children(parent, parent->child ? parent->child : n, parent->child ? n : NULL);
    kp__heap_fix(h, n);
}

void kp__heap_remove(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *last = at_place(h, h->count--);

    KP__DCHECK(kp__heap_holds(n));
    replace(h, last, NULL);
    if (last != n) {
        replace(h, n, last);
        set_children(last, n->child, right_of(n));
        kp__heap_fix(h, last);
    }
    kp__heap_node_init(n);
}
