/* SPDX-License-Identifier: MIT
 *
 * Pins: keys that are resolved once (kp_pin). How one is recognised: find.h.
 */
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"

/* One pin more or less. While there is one, the lane has the size of the key's pins. */
static void count_pin(struct kp__pool *pool, struct kp__subpool *sub, uint32_t one)
{
    size_t size = kp__pin_size(pool->core.id, sub->serial);

    sub->pins += one;
    /* relaxed: whoever has the pin was given it after this store; if it is used while it is being
     * unpinned, the use may succeed or be misuse, and either is right */
    atomic_store_explicit(&KP__LANE_OF(sub)->pin, sub->pins ? size : 0, memory_order_relaxed);
}

int kp_pin(kp_pool *door, kp_key key, kp_key *pinned)
{
    struct kp__subpool *sub = NULL;
    struct kp__todo todo;
    int code;

    if (!pinned) return kp__misuse_by(door, NULL, "kp_pin: pinned is NULL; nothing was pinned");
    *pinned = kp_bytes(NULL, 0);
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    if (!pool) return kp__no_pool(code, NULL, "kp_pin: pool is NULL");
    code = kp__check_key(pool, key, NULL, &todo);
    if (code == 0 && (sub = kp__find_or_make(pool, key, NULL, &code)) != NULL) {
        if (kp__lane_make(&pool->core, sub)) {
            count_pin(pool, sub, 1);
            *pinned = kp_bytes((const void *)(uintptr_t)kp__lane_number(sub),
                               kp__pin_size(pool->core.id, sub->serial));
        } else {
            code = KP_ENOMEM;
        }
        kp__lose_interest(pool, sub, sub->used_at);
    }
    kp__leave(pool, &todo);
    return code;
}

void kp_unpin(kp_pool *door, kp_key *pinned)
{
    struct kp__todo todo;
    int code;

    if (!pinned) return;
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    struct kp__subpool *sub;
    if (!pool) {
        (void)kp__no_pool(code, NULL, "kp_unpin: pool is NULL");
        *pinned = kp_bytes(NULL, 0);
        return;
    }
    sub = kp__is_pinned(*pinned) ? kp__known(pool, *pinned) : NULL;
    if (sub) {
        kp__shut(pool, sub);
        count_pin(pool, sub, (uint32_t)-1);
        sub->interest++;
        kp__lose_interest(pool, sub, kp__time(pool));
        *pinned = kp_bytes(NULL, 0);
    } else {
        kp__misuse_within(pool, &todo, NULL,
                          "kp_unpin: this is not a pin of this pool, or was unpinned already, or "
                          "was pinned before fork");
    }
    kp__leave(pool, &todo);
}
