/* SPDX-License-Identifier: MIT
 *
 * A subpool's queues of waiting requests, and its beginning.
 */
#include "core/subpool.h"

#include "base/check.h"
#include "core/core.h"

void kp__subpool_init(struct kp__core *core, struct kp__subpool *sub, uint64_t hash)
{
    struct kp__slab_item item = sub->item;

    *sub = (struct kp__subpool){ .item = item, .serial = ++core->key_serials, .in_use = true };
    sub->node.hash = hash;
    kp__list_init(&sub->all);
    for (int s = 0; s < KP__STATES; s++) kp__list_init(&sub->slots[s]);
    kp__list_init(&sub->open_seats);
    kp__heap_node_init(&sub->term);
    for (int q = 0; q < KP__QUEUES; q++) kp__list_init(&sub->queue[q]);
    kp__heap_node_init(&sub->starved);
    for (int m = 0; m < KP__MEMBERS; m++) kp__heap_node_init(&sub->evict[m]);
    kp__list_init(&sub->health.kept);
}

bool kp__subpool_unused(const struct kp__subpool *sub)
{
    return sub->interest == 0 && sub->pins == 0 && sub->waiting == 0 && sub->promised == 0 &&
           kp__sub_live(sub) == 0;
}

struct kp__request *kp__queue_first(const struct kp__subpool *sub, enum kp__queue queue)
{
    const struct kp__list *list = &sub->queue[queue];
    struct kp__list *first =
        sub->rules && sub->rules->wait_lifo ? kp__list_last(list) : kp__list_first(list);

    return first ? KP__OF(first, struct kp__request, link) : NULL;
}

static uint64_t stamp_of(const struct kp__list *node)
{
    return node ? KP__OF(node, struct kp__request, link)->stamp : 0;
}

/* By stamp. Newcomers go to the end; who comes back does so near the front. */
void kp__queue_insert(struct kp__core *core, struct kp__request *request)
{
    struct kp__subpool *sub = request->sub;
    struct kp__list *list = &sub->queue[request->queue], *at;
    uint64_t stamp = request->stamp;

    if (stamp_of(kp__list_last(list)) <= stamp) {
        kp__list_push_back(list, &request->link);
    } else {
        for (at = kp__list_first(list); stamp_of(at) < stamp;) at = kp__list_next(list, at);
        kp__list_insert_before(at, &request->link);
    }
    sub->waiting++;
    core->waiting++;
}

void kp__queue_remove(struct kp__core *core, struct kp__request *request)
{
    kp__list_remove(&request->link);
    request->invited = false;
    request->sub->waiting--;
    core->waiting--;
}

uint32_t kp__queue_ahead(const struct kp__request *request)
{
    const struct kp__subpool *sub = request->sub;
    bool lifo = sub->rules && sub->rules->wait_lifo;
    uint32_t ahead = 0;

    for (int q = 0; q < KP__QUEUES; q++) {
        const struct kp__list *list = &sub->queue[q];
        for (const struct kp__list *l = kp__list_first(list); l; l = kp__list_next(list, l)) {
            uint64_t stamp = KP__OF(l, const struct kp__request, link)->stamp;
            if (lifo ? stamp > request->stamp : stamp < request->stamp) ahead++;
        }
    }
    return ahead;
}
