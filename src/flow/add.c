/* SPDX-License-Identifier: MIT
 *
 * kp_add: a resource that was made elsewhere becomes one of ours, if there is room for one more. It
 * goes on as one that was created (create.c).
 */
#include "core/permit.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/peers.h"
#include "flow/resource.h"

/* Is there room for one more, without taking what was promised? 0, KP_EFULL or KP_ECLOSED. */
static int room_for_one(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__core *core = &pool->core;

    if (core->phase != KP__OPEN) return KP_ECLOSED;
    if (!sub->rules) return KP_EFULL; /* limits_for is being asked this very moment */
    if (kp__sub_live(sub) + sub->contest->promised >= sub->rules->max_live) return KP_EFULL;
    kp__note_time(core, kp__time(pool));
    bool kept = (int64_t)sub->count[KP__IDLE] < sub->rules->max_idle && kp__may_idle(core, 1);
    if (!kept && sub->waiting == 0) return KP_EFULL;
    return kp__budgets_have_room(core, sub) ? 0 : KP_EFULL;
}

/* NULL: this resource may be added to some key. Otherwise what is wrong with it. */
static const char *bad_resource(struct kp__pool *pool, const void *resource)
{
    if (!resource) return "kp_add: the resource is NULL";
    return kp__slot_of(&pool->core, resource) ? "kp_add: this resource is in the pool already"
                                              : NULL;
}

/* May this one be added? 0, or the code of why not; *sentence is set if that is misuse. */
static int may_add(struct kp__pool *pool, struct kp__subpool *sub, const void *resource,
                   const char **sentence)
{
    *sentence = bad_resource(pool, resource);
    return *sentence ? KP_EMISUSE : room_for_one(pool, sub);
}

static int ask_for_fd(struct kp__pool *pool, void *resource, struct kp__todo *todo)
{
    int fd;

    if (pool->watch < 0) return -1;
    kp__step_out(pool, todo);
    fd = kp__watch_ask(pool, resource);
    kp__step_in(pool);
    return fd;
}

static void adopt(struct kp__pool *pool, struct kp__subpool *sub, struct kp__slot *slot,
                  void *resource, int fd, struct kp__todo *todo)
{
    uint64_t now = kp__time(pool);

    kp__permit_take(&pool->core, sub);
    kp__permit_spend(sub, slot);
    kp__slot_fill(pool, slot, resource, fd, now);
    kp__bring_in(pool, slot, NULL, now, todo); /* it was no probe */
}

static int add_to(struct kp__pool *pool, struct kp__subpool *sub, void *resource,
                  const char **sentence, struct kp__todo *todo)
{
    int code = may_add(pool, sub, resource, sentence);

    if (code != 0) return code;
    struct kp__slot *slot = kp__slot_make(pool, sub);
    if (!slot) return KP_ENOMEM;
    int fd = ask_for_fd(pool, resource, todo);
    /* the lock was given back: look again */
    if ((code = may_add(pool, sub, resource, sentence)) == 0)
        adopt(pool, sub, slot, resource, fd, todo);
    else kp__slot_put(&pool->core, slot);
    return code;
}

static int add(struct kp__pool *pool, kp_key key, void *resource, struct kp__todo *todo)
{
    const char *sentence = bad_resource(pool, resource);
    struct kp__subpool *sub = NULL;
    int code;

    if (!sentence) sub = kp__find_or_make(pool, key, NULL, &code); /* no key is made for misuse */
    if (sub) {
        code = add_to(pool, sub, resource, &sentence, todo);
        kp__lose_interest(pool, sub, kp__time(pool));
    }
    return sentence ? kp__misuse_within(pool, todo, NULL, sentence) : code;
}

int kp_add(kp_pool *door, kp_key key, void *resource)
{
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return kp__no_pool(code, NULL, "kp_add: pool is NULL");
    if ((code = kp__check_key(pool, key, NULL, &todo)) == 0) code = add(pool, key, resource, &todo);
    kp__leave(pool, &todo);
    return code;
}
