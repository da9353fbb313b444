/* SPDX-License-Identifier: MIT
 *
 * The pointer heap of heap.h: nodes trade places by relinking, for they are part of other structs
 * and cannot be copied.
 */
#include "heap.h"

#include "check.h"

/* The link that holds place number `place` (1 is the root); *parent is the node that the link
 * belongs to. */
static struct kp__heap_node **heap_link(struct kp__heap *h, size_t place,
                                        struct kp__heap_node **parent)
{
    struct kp__heap_node **link = &h->root;
    size_t bit = 1;

    while (bit <= place / 2)
        bit *= 2;
    *parent = NULL;
    while (bit /= 2) {
        *parent = *link;
        link = place & bit ? &(*link)->right : &(*link)->left;
    }
    return link;
}

/* The link that holds n. */
static struct kp__heap_node **heap_link_of(struct kp__heap *h, const struct kp__heap_node *n)
{
    if (n->parent == NULL)
        return &h->root;
    return n->parent->left == n ? &n->parent->left : &n->parent->right;
}

static void heap_adopt_children(struct kp__heap_node *n)
{
    if (n->left != NULL)
        n->left->parent = n;
    if (n->right != NULL)
        n->right->parent = n;
}

/* Swap n with its parent. */
static void heap_raise(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *up = n->parent;
    struct kp__heap_node was = *n;

    *heap_link_of(h, up) = n;
    *n = *up;
    *(n->left == n ? &n->left : &n->right) = up;
    *up = was;
    heap_adopt_children(n);
    heap_adopt_children(up);
}

static struct kp__heap_node *heap_first_child(const struct kp__heap *h,
                                              const struct kp__heap_node *n)
{
    if (n->right != NULL && h->before(n->right, n->left))
        return n->right;
    return n->left;
}

void kp__heap_fix(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *child;

    KP__DCHECK(kp__heap_holds(n));
    while (n->parent != NULL && h->before(n, n->parent))
        heap_raise(h, n);
    while ((child = heap_first_child(h, n)) != NULL && h->before(child, n))
        heap_raise(h, child);
}

void kp__heap_insert(struct kp__heap *h, struct kp__heap_node *n)
{
    KP__DCHECK(!kp__heap_holds(n));
    n->left = n->right = NULL;
    *heap_link(h, ++h->count, &n->parent) = n;
    kp__heap_fix(h, n);
}

void kp__heap_remove(struct kp__heap *h, struct kp__heap_node *n)
{
    struct kp__heap_node *parent;
    struct kp__heap_node **link = heap_link(h, h->count--, &parent);
    struct kp__heap_node *last = *link;

    KP__DCHECK(kp__heap_holds(n));
    *link = NULL;
    if (last != n) {
        *heap_link_of(h, n) = last;
        *last = *n;
        heap_adopt_children(last);
        kp__heap_fix(h, last);
    }
    kp__heap_node_init(n);
}
