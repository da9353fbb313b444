/* SPDX-License-Identifier: MIT
 *
 * What a get says besides its key: does it make sense, and until when may the get take? The same
 * for a get of a thread, of a loop, by a plan, and for a warm-up.
 */
#include "flow/door.h"
#include "flow/get.h"

const char *kp__ask_refused(const struct kp__pool *pool, const kp_ask *ask)
{
    if (ask->within_ms < 0 && ask->within_ms != KP_NONE && ask->within_ms != KP_OFF)
        return "kp_ask.within_ms is negative; KP_NONE does not wait, KP_OFF waits for ever";
    if (ask->until.ns && ask->until.ns < pool->opened)
        return "kp_ask.until lies before the pool was opened; make it with kp_deadline_in";
    if (ask->flags & ~(uint32_t)(KP_DONT_WAIT | KP_DONT_CREATE | KP_FRESH))
        return "kp_ask.flags has a bit that this library does not know";
    if ((ask->flags & KP_FRESH) && (ask->flags & (KP_DONT_CREATE | KP_DONT_WAIT)))
        return "kp_ask.flags: KP_FRESH wants a new resource, which the other flags forbid";
    if (ask->reserved0 || ask->reserved[0] || ask->reserved[1] || ask->reserved[2])
        return "kp_ask has reserved words that are not zero; was it zeroed?";
    return NULL;
}

uint64_t kp__ask_deadline(const struct kp__pool *pool, const kp_ask *ask, uint64_t now)
{
    uint64_t at = KP__NEVER;

    if (ask->within_ms != 0) at = kp__after(now, ask->within_ms);
    else if (!ask->until.ns) at = kp__later(now, pool->deadline);
    if (ask->until.ns && ask->until.ns < at) at = ask->until.ns;
    return at;
}
