/* SPDX-License-Identifier: MIT
 *
 * Requests that cannot be served in their time are told so at once (late.h).
 */
#include "core/late.h"

#include "core/core.h"

/* ---- the estimate ---------------------------------------------------------------------------- */

void kp__late_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__late *late = &kp__rare(core, sub)->late;
    if ((now - late->since) / KP__LATE_KEPT > late->gap) late->seen = 0;
    late->since = now;
}

void kp__late_learn(struct kp__core *core, struct kp__subpool *sub, uint64_t now)
{
    struct kp__late *late = &kp__rare(core, sub)->late;
    uint64_t over = KP__LATE_LEAST + (uint64_t)kp__sub_live(sub), took = now - late->since;
    if (late->seen < over) over = ++late->seen;
    late->gap -= late->gap / over;
    late->gap += took / over;
    late->since = now;
}

/* ---- what can help --------------------------------------------------------------------------- */

static bool all_are_doomed(const struct kp__list *list)
{
    const struct kp__slot *slot = NULL;

    while ((slot = kp__next_slot(list, slot)) != NULL)
        if (!slot->errand->doomed) return false;
    return true;
}

bool kp__needs_creation(const struct kp__request *request)
{
    const struct kp__subpool *sub = request->sub;

    return (request->flags & KP_FRESH) ||
           (all_are_doomed(KP__SLOTS(sub, KP__LENT)) && all_are_doomed(&sub->rare->tested));
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool refuse(struct kp__request *request, uint64_t hope)
{
    kp__grant_no(request, KP_EFULL, KP__BY_REFUSE_LATE);
    request->hope = hope;
    return true;
}

/* Does it have a deadline that is still to come? If not, it is late in another way, or never. */
static bool may_be_late(const struct kp__request *request, uint64_t now)
{
    return now < request->deadline && request->deadline != KP__NEVER;
}

/* When the key may begin to create: after its pause (which probes do not wait for), and when there
 * is a token for it (core/rate.h). */
static uint64_t creation_at(const struct kp__core *core, const struct kp__subpool *sub,
                            uint64_t now)
{
    const struct kp__health *h = &sub->rare->health;
    uint64_t pause = h->tripped ? now : h->back_off;
    uint64_t token = core->rate.per_s ? kp__token_at(&core->rate, now) : now;

    return pause > token ? pause : token;
}

bool kp__is_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now)
{
    const struct kp__subpool *sub = request->sub;
    const struct kp__failure *last = sub->rare->health.last;

    if (!may_be_late(request, now) || (request->flags & KP_DONT_CREATE)) return false;
    if (!core->can_create || sub->count[KP__IDLE] > 0 || sub->count[KP__CREATING] > 0 ||
        sub->contest->promised > 0 || !kp__needs_creation(request))
        return false;
    uint64_t at = creation_at(core, sub, now);
    if (at < request->deadline) return false;
    if (last && sub->rare->health.failures > 0) kp__blame(request, last);
    return refuse(request, at);
}

bool kp__seems_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now)
{
    const struct kp__subpool *sub = request->sub;
    const struct kp__late *late = &sub->rare->late;

    if (kp__is_too_late(core, request, now)) return true;
    if (!may_be_late(request, now) || sub->rules->wait_lifo || late->seen < KP__LATE_LEAST)
        return false;
    if (sub->waiting <= sub->count[KP__CREATING]) return false;
    uint64_t ahead = sub->waiting - sub->count[KP__CREATING]; /* less those a creation is for */
    uint64_t left = request->deadline - now;
    if (late->gap <= left / ahead) return false; /* without ahead * gap, which could overflow */
    /* those ahead are served by now + ahead * gap: a request that comes `left` before that, with as
     * much time as this one, is just in time */
    return refuse(request, now + ahead * (late->gap - left / ahead));
}
