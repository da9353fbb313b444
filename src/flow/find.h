/* SPDX-License-Identifier: MIT
 *
 * Keys: found or made, given their rules, walked over, forgotten (find.c, rules.c); and how a
 * pinned key is recognised.
 */
#ifndef KP__FLOW_FIND_H
#define KP__FLOW_FIND_H

#include "flow/flow.h"
#include "flow/key.h"

/* The subpool of a key that fits (kp__check_key, since the lock was taken), with an interest in it,
 * which kp__lose_interest gives up; NULL: there is none. With the lock. */
struct kp__subpool *kp__find(struct kp__pool *pool, kp_key key);

/* The same to use it: if there is none it is made, and gets its rules, for which the lock may be
 * given back meanwhile. NULL: why is in *code, and in *why if that is about its rules. */
struct kp__subpool *kp__find_or_make(struct kp__pool *pool, kp_key key, kp_why *why, int *code);

/* kp__find without interest, and the lane is left as it is; the key need not fit. */
struct kp__subpool *kp__known(struct kp__pool *pool, kp_key key);

/* While a call has an interest in a key, the key is not forgotten and its lane stays shut. `now`:
 * when the call last wanted something of the key; sub->used_at: nothing. */
void kp__take_interest(struct kp__pool *pool, struct kp__subpool *sub);
void kp__lose_interest(struct kp__pool *pool, struct kp__subpool *sub, uint64_t now);

static inline kp_key kp__key_of(const struct kp__pool *pool, const struct kp__subpool *sub)
{
    return kp__key_stored(&pool->key_type, kp__key_at(sub), sub->key_size);
}

/* Is it a key of this pool? Else misuse. With the lock, which is then given back meanwhile. */
int kp__check_key(struct kp__pool *pool, kp_key key, kp_why *why, struct kp__todo *todo);
bool kp__is_every_key(kp_key key); /* is it KP_EVERY_KEY? */

/* kp__enter with a key that fits the pool, or with KP_EVERY_KEY. NULL: refused; *code and *why say
 * why. `no_pool`: the sentence for a pool that is NULL. */
struct kp__pool *kp__enter_with(kp_pool *door, kp_key key, const char *no_pool, kp_why *why,
                                struct kp__todo *todo, int *code);

/* The next key after `sub` (NULL: the first), with interest; the interest in `sub` is given up.
 * With the lock. */
struct kp__subpool *kp__next_key(struct kp__pool *pool, struct kp__subpool *sub);

/* The same for the keys that `key` names: all of them (KP_EVERY_KEY), or one, if there is one. */
struct kp__subpool *kp__next_named(struct kp__pool *pool, kp_key key, struct kp__subpool *sub);

/* Free what lies apart of a key that is out of the table, or whose pool is over: its failures, the
 * copy of the key, and `rules`, its own if nobody else has them; or NULL. Without the lock. */
void kp__key_free(struct kp__pool *pool, struct kp__subpool *sub, struct kp__rules *rules);

/* kp__table_drop has taken a key out: tell that it is forgotten, and free its subpool. With the
 * lock, which is given back meanwhile. */
void kp__forgotten(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* Work out the rules of a new key (rules.c), unless they are there already, or another call is just
 * asking limits_for; until they are there, requests wait in the key's queue. 0, or why not. With
 * the lock, given back meanwhile. */
int kp__rule(struct kp__pool *pool, struct kp__subpool *sub, kp_why *why);

/* Forgive a key its failures (kp_retry_now; retry.c). With the lock, given back meanwhile. */
void kp__retry(struct kp__pool *pool, struct kp__subpool *sub, struct kp__todo *todo);

/* ---- pins (pin.c) ---------------------------------------------------------------------------- */

/* The data of a pinned key is the number of its lane; its size has this mark, the id of its door
 * and the serial of its subpool, as many bits of both as there is room for. */
#define KP__PIN_MARK (SIZE_MAX / 4 + 1)

static inline bool kp__is_pinned(kp_key key)
{
    return (key.size & KP__PIN_MARK) && !(key.size & KP_STRUCT_KEY);
}

#if SIZE_MAX > UINT32_MAX
enum { KP__PIN_DOOR_AT = 32 };
#else
enum { KP__PIN_DOOR_AT = 16 };
#endif

static inline size_t kp__pin_size(uint32_t door, uint32_t serial)
{
    size_t doors = KP__PIN_MARK - 1, serials = ((size_t)1 << KP__PIN_DOOR_AT) - 1;

    return KP__PIN_MARK | ((size_t)door << KP__PIN_DOOR_AT & doors) | (serial & serials);
}

/* Is it a pin of this door, as far as the bits in it tell? */
static inline bool kp__pin_is_of(uint32_t door, size_t size)
{
    return (kp__pin_size(door, 0) ^ size) >> KP__PIN_DOOR_AT == 0;
}

#endif
