/* SPDX-License-Identifier: MIT
 *
 * The descriptors of resources (driver.fd): each is in the pool's set from the time its resource
 * was made until it is closed, by destroy or before (libpq closes what is lost), and upkeep looks
 * now and then which peers have closed. A resource that is idle goes then, before anybody borrows
 * it; one that is lent goes when it comes back. A name in the set says which slot, and which of its
 * resources, so that old news is never taken for news of a later resource.
 */
#include "base/watch.h"

#include "base/cancel.h"
#include "core/give.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/peers.h"

enum { AT_ONCE = 64 };

static uint64_t name_of(const struct kp__slot *slot)
{
    return (uint64_t)slot->item.index << 32 | (uint32_t)slot->serial;
}

int kp__watch_fd(const struct kp__pool *pool, void *resource)
{
    int cancel = kp__cancel_hold(), fd = pool->driver.fd(resource, pool->driver.ctx);
    kp__cancel_free(cancel);
    return fd;
}

void kp__watch_begin(struct kp__pool *pool, struct kp__slot *slot, int fd, uint64_t now)
{
    if (fd < 0 || !kp__watch_add(pool->watch, fd, name_of(slot))) return;
    slot->watched = true;
    if (pool->watch_at == KP__NEVER) pool->watch_at = kp__later(now, pool->watch_every);
}

static void tell_closed(struct kp__pool *pool, struct kp__subpool *sub, const void *resource,
                        struct kp__todo *todo)
{
    kp_why why;

    sub->interest++;
    kp__step_aside(pool, todo); /* it is destroyed afterwards */
    kp__say(&why, KP_EGONE, "its peer has closed the connection (driver.fd)");
    kp__event(pool, KP_EVENT_INVALID, sub, resource, KP_EGONE, &why);
    kp__step_in(pool);
    kp__lose_interest(pool, sub, sub->used_at);
}

/* The peer of the resource with this name has closed. Its slot may have another one by now. */
static void look_at(struct kp__pool *pool, uint64_t name, struct kp__todo *todo)
{
    struct kp__slot *slot = kp__slab_at(&pool->core.slots, (uint32_t)(name >> 32));
    struct kp__subpool *sub = slot->sub;
    const void *resource = slot->resource;

    if (!slot->watched || name_of(slot) != name) return;
    kp__shut(pool, sub);
    if (kp__doom(&pool->core, slot, KP_CAUSE_GONE, todo)) tell_closed(pool, sub, resource, todo);
}

void kp__watch_keep(struct kp__pool *pool, uint64_t now, struct kp__todo *todo)
{
    const uint32_t *count = pool->core.count;
    uint64_t names[AT_ONCE];

    if (now < pool->watch_at) return;
    pool->watch_at = kp__later(now, pool->watch_every); /* other threads need not look now, too */
    kp__step_out(pool, todo);
    int many = kp__watch_look(pool->watch, names, AT_ONCE);
    kp__step_in(pool);
    for (int i = 0; i < many; i++) {
        look_at(pool, names[i], todo);
        kp__do(pool, todo);
    }
    bool any = count[KP__CREATING] + count[KP__IDLE] + count[KP__LENT] > 0;
    if (!any) pool->watch_at = KP__NEVER;
    else if (many == AT_ONCE) pool->watch_at = now;
}
