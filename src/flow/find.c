/* SPDX-License-Identifier: MIT
 *
 * Step 1 of a get: find the subpool of a key, or make it. Making asks the user's limits_for
 * (rules.c), so the new subpool is in the table before its rules are known: a get that comes
 * meanwhile waits in its queue, and limits_for is asked exactly once. And the end of a key.
 */
#include "base/check.h"
#include "core/calendar.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/here.h"
#include "flow/key.h"
#include "flow/settings.h"

/* ---- keys the user hands in ------------------------------------------------------------------ */

bool kp__is_every_key(kp_key key)
{
    return key.data == NULL && key.size == SIZE_MAX;
}

/* The subpool of a pin; NULL: it is no pin of this pool, or no longer. */
static inline struct kp__subpool *find_pinned(struct kp__pool *pool, kp_key key)
{
    uintptr_t number = (uintptr_t)key.data;
    const struct kp__lane *lane = number <= UINT32_MAX ? kp__lane_at((uint32_t)number) : NULL;

    /* relaxed: if the lane is this pool's, its pin was written under this lock */
    if (!lane || atomic_load_explicit(&lane->pin, memory_order_relaxed) != key.size) return NULL;
    struct kp__subpool *sub = kp__slab_at(&pool->core.subpools, lane->sub);
    return sub && kp__lane_number(sub) == number ? sub : NULL;
}

/* The same of a pin that was found to be one since the lock was taken. */
static inline struct kp__subpool *pinned(struct kp__pool *pool, kp_key key)
{
    const struct kp__lane *lane = kp__line(&kp__lanes, (uint32_t)(uintptr_t)key.data);

    return kp__slab_place(&pool->core.subpools, lane->sub);
}

/* NULL: it may be looked up. Otherwise what is wrong with it. With the lock. */
static const char *bad_key(struct kp__pool *pool, kp_key key)
{
    if (kp__is_pinned(key))
        return find_pinned(pool, key) ? NULL
                                      : "this pinned key is not of this pool, or was unpinned, or "
                                        "was pinned before fork";
    if (kp__is_every_key(key)) return "KP_EVERY_KEY cannot be borrowed for; pass one key";
    return kp__key_refused(&pool->key_type, key);
}

int kp__check_key(struct kp__pool *pool, kp_key key, kp_why *why, struct kp__todo *todo)
{
    const char *sentence = bad_key(pool, key);

    return sentence ? kp__misuse_within(pool, todo, why, sentence) : 0;
}

struct kp__pool *kp__enter_with(kp_pool *door, kp_key key, const char *no_pool, kp_why *why,
                                struct kp__todo *todo, int *code)
{
    struct kp__pool *pool = kp__enter(door, todo, code);

    if (!pool) {
        kp__no_pool(*code, why, no_pool);
        return NULL;
    }
    if (kp__is_every_key(key) || (*code = kp__check_key(pool, key, why, todo)) == 0) return pool;
    kp__leave(pool, todo);
    return NULL;
}

/* ---- find ------------------------------------------------------------------------------------ */

struct wanted {
    const struct kp__pool *pool;
    kp_key key;
};

static bool same_key(const struct kp__map_node *node, const void *ctx)
{
    const struct kp__subpool *sub = KP__OF(node, struct kp__subpool, node);
    const struct wanted *wanted = ctx;

    return kp__key_equal(&wanted->pool->key_type, kp__key_at(sub), sub->key_size, wanted->key);
}

static uint64_t hash_of(const struct kp__pool *pool, kp_key key)
{
    return kp__key_hash(&pool->key_type, pool->seed, key);
}

/* Of a key that fits and is not pinned. */
static struct kp__subpool *look_up(struct kp__pool *pool, kp_key key, uint64_t hash)
{
    struct wanted wanted = { pool, key };

    return kp__table_find(&pool->core, hash, same_key, &wanted);
}

struct kp__subpool *kp__known(struct kp__pool *pool, kp_key key)
{
    if (kp__is_pinned(key)) return find_pinned(pool, key);
    return bad_key(pool, key) ? NULL : look_up(pool, key, hash_of(pool, key));
}

struct kp__subpool *kp__find(struct kp__pool *pool, kp_key key)
{
    struct kp__subpool *sub =
        kp__is_pinned(key) ? pinned(pool, key) : look_up(pool, key, hash_of(pool, key));

    if (sub) kp__take_interest(pool, sub);
    return sub;
}

/* ---- make, if need be ------------------------------------------------------------------------ */

/* The pool's own copy of a key that does not lie in its subpool. With the lock, which is given back
 * meanwhile. NULL: out of memory, or key_type.copy failed, which is taken for the same (R1). */
static void *copy_far(struct kp__pool *pool, kp_key key)
{
    size_t size = kp__key_room(&pool->key_type, key);

    kp__slip_out(pool);
    void *copy = kp__alloc(pool->world, size, 16);
    if (copy && kp__key_copy(&pool->key_type, key, copy) != 0) {
        kp__free(pool->world, copy, size);
        copy = NULL;
    }
    kp__step_in(pool);
    return copy;
}

/* Undo that. Without the lock. */
static void drop_far(struct kp__pool *pool, void *copy, size_t size)
{
    kp__key_drop(&pool->key_type, copy);
    kp__free(pool->world, copy, size);
}

/* Is there room for one more key, or would there be without one that nobody uses? */
static bool may_make(struct kp__pool *pool)
{
    return (int64_t)pool->core.key_count < pool->core.max_keys ||
           kp__table_spare(&pool->core) != NULL;
}

/* If there may be no more keys, those that nobody uses go, the longest unused first, until there is
 * room for one more: out of the table at once; clear_up tells and frees them. False: no room. */
static bool make_way(struct kp__pool *pool, struct kp__list *gone)
{
    struct kp__core *core = &pool->core;
    struct kp__subpool *sub;

    while ((int64_t)core->key_count >= core->max_keys && (sub = kp__table_spare(core)) != NULL) {
        kp__table_drop(core, sub);
        kp__list_push_back(gone, &kp__due_of(core, sub)->unused);
    }
    return (int64_t)core->key_count < core->max_keys;
}

/* What is left to do after the decision: tell and free the keys that went, and free the copy of a
 * key that was not made after all. With the lock, given back meanwhile. */
static void clear_up(struct kp__pool *pool, struct kp__list *gone, void *copy, size_t size)
{
    struct kp__todo todo;
    struct kp__list *l;

    kp__todo_init(&todo, pool->world);
    while ((l = kp__list_first(gone)) != NULL) {
        kp__list_remove(l);
        kp__forgotten(pool, KP__OF(l, struct kp__key_due, unused)->sub, &todo);
    }
    if (!copy) return;
    kp__step_out(pool, &todo);
    drop_far(pool, copy, size);
    kp__step_in(pool);
}

static struct kp__subpool *make(struct kp__pool *pool, kp_key key, uint64_t hash, int *code)
{
    struct kp__subpool *sub = NULL;
    struct kp__list gone;
    bool far = key.size >= KP__NEAR;
    void *copy = far ? copy_far(pool, key) : NULL;

    *code = KP_ENOMEM;
    if (far && !copy) return NULL;
    kp__list_init(&gone);
    bool room = kp__make_room(pool); /* nothing gives the lock back between here and the decision */
    if (pool->core.phase != KP__OPEN) *code = KP_ECLOSED;
    else if ((sub = look_up(pool, key, hash)) != NULL) *code = 0; /* somebody else was faster */
    else if (!make_way(pool, &gone)) *code = KP_EFULL;
    else if (room && (sub = kp__table_make(&pool->core, hash)) != NULL) {
        sub->key_size = (uint32_t)(key.size & ~KP_STRUCT_KEY);
        sub->key.far = copy;
        sub->far = far;
        if (!far) (void)kp__key_copy(&pool->key_type, key, sub->key.near);
        copy = NULL; /* it is the subpool's */
        *code = 0;
    }
    if (!copy && kp__list_empty(&gone)) return sub;
    if (sub) kp__take_interest(pool, sub); /* or it may be forgotten meanwhile (I9) */
    clear_up(pool, &gone, copy, kp__key_room(&pool->key_type, key));
    if (sub) sub->interest--;
    return sub;
}

/* The key was about to go; somebody wants it again, so it gets its minimum again, too; and a
 * kp_drop need not wait for it to go. */
static void keep(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__todo todo;

    sub->leaving = KP__STAYS;
    kp__todo_init(&todo, pool->world);
    kp__tell_news(pool, &todo);
    kp__todo_run_wakes(&todo);
    if (!sub->rules->eager) return;
    sub->refill = true;
    kp__file_sub(&pool->core, sub, kp__time(pool));
}

/* Of a key that fits and is not pinned. NULL: why is in *code. */
static struct kp__subpool *look_up_or_make(struct kp__pool *pool, kp_key key, int *code)
{
    uint64_t hash = hash_of(pool, key);
    struct kp__subpool *sub = look_up(pool, key, hash);

    if (sub) return sub;
    if (may_make(pool)) return make(pool, key, hash, code);
    *code = KP_EFULL;
    return NULL;
}

struct kp__subpool *kp__find_or_make(struct kp__pool *pool, kp_key key, kp_why *why, int *code)
{
    *code = KP_ECLOSED;
    if (pool->core.phase != KP__OPEN) return NULL;
    *code = 0;
    struct kp__subpool *sub =
        kp__is_pinned(key) ? pinned(pool, key) : look_up_or_make(pool, key, code);
    if (!sub) return NULL;
    kp__take_interest(pool, sub);
    if (sub->leaving != KP__STAYS) keep(pool, sub);
    if (sub->rules || (*code = kp__rule(pool, sub, why)) == 0) return sub;
    kp__lose_interest(pool, sub, 0);
    return NULL;
}

/* ---- interest, and the end of a key ---------------------------------------------------------- */

void kp__key_free(struct kp__pool *pool, struct kp__subpool *sub, struct kp__rules *rules)
{
    const struct kp__health *h = &sub->rare->health;
    struct kp__list *node;

    if (h->last) kp__list_remove(&h->last->link);
    while ((node = kp__list_first(&h->kept)) != NULL) {
        kp__list_remove(node);
        kp__free(pool->world, KP__OF(node, struct kp__failure, link), sizeof(struct kp__failure));
    }
    kp__free(pool->world, h->last, sizeof *h->last);
    kp__rules_drop(pool->world, rules);
    if (sub->far)
        drop_far(pool, sub->key.far, kp__key_room(&pool->key_type, kp__key_of(pool, sub)));
}

/* Free a subpool that kp__table_drop took out. With the lock, which is given back meanwhile. */
static KP__APART void free_subpool(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__rules *rules = kp__rules_unref(sub->rules);

    sub->rules = NULL;
    kp__slip_out(pool);
    kp__key_free(pool, sub, rules);
    kp__step_in(pool);
    kp__slab_put(&pool->core.subpools, sub);
}

void kp__take_interest(struct kp__pool *pool, struct kp__subpool *sub)
{
    kp__shut(pool, sub);
    sub->interest++;
}

void kp__lose_interest(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now)
{
    KP__DCHECK(sub->interest > 0);
    sub->interest--;
    if (now > sub->used_at) sub->used_at = now;
    if (sub->rules) {
        (void)kp__may_forget(&pool->core, sub, 0); /* files it for the time when it may */
    } else if (kp__subpool_unused(sub)) { /* nor is limits_for being asked: that has an interest */
        kp__table_drop(&pool->core, sub); /* it never had any rules */
        free_subpool(pool, sub);
    }
}

void kp__forgotten(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo)
{
    kp__step_out(pool, todo);
    kp__event(pool, KP_EVENT_KEY_FORGOTTEN, sub, NULL, 0, NULL);
    kp__step_in(pool);
    free_subpool(pool, sub);
}

/* ---- all keys, one after the other ----------------------------------------------------------- */

struct kp__subpool *kp__next_key(struct kp__pool *pool, struct kp__subpool *sub)
{
    struct kp__subpool *next = kp__next_sub(&pool->core, sub);

    if (next) kp__take_interest(pool, next);
    if (sub) kp__lose_interest(pool, sub, sub->used_at);
    return next;
}

struct kp__subpool *kp__next_named(struct kp__pool *pool, kp_key key, struct kp__subpool *sub)
{
    if (kp__is_every_key(key)) return kp__next_key(pool, sub);
    if (!sub) return kp__find(pool, key);
    kp__lose_interest(pool, sub, sub->used_at);
    return NULL;
}
