/* SPDX-License-Identifier: MIT
 *
 * Where leases were got, for reports of those that are held too long (options.stack). The addresses
 * lie apart from the slot, in memory that an errand gets with its first such lease.
 */
#include <string.h>

#include "base/cancel.h"
#include "flow/door.h"
#include "flow/event.h"

size_t kp__trace_of(const struct kp__slot *slot, const struct kp__seat *seat,
                    const void *frame[KP__FRAMES])
{
    const struct kp__errand *errand = slot->errand;
    size_t at = seat == &errand->first ? 0 : (size_t)(seat - errand->more) + 1;

    if (at >= errand->trace_room || errand->traces[at].generation != seat->generation) return 0;
    memcpy(frame, errand->traces[at].frame, errand->traces[at].count * sizeof *frame);
    return errand->traces[at].count;
}

/* See to room for a trace of each seat. That happens only once, so it is done with the lock. */
static bool has_room(struct kp__pool *pool, struct kp__errand *errand)
{
    size_t bytes = errand->seats * sizeof *errand->traces;

    if (errand->trace_room >= errand->seats) return true;
    struct kp__trace *traces = kp__alloc(pool->world, bytes, 16);
    if (!traces) return false;
    memset(traces, 0, bytes);
    kp__free(pool->world, errand->traces, errand->trace_room * sizeof *errand->traces);
    errand->traces = traces;
    errand->trace_room = errand->seats;
    pool->seated = true;
    return true;
}

void kp__trace(struct kp__pool *pool, struct kp__slot *slot, uint32_t seat, struct kp__todo *todo)
{
    struct kp__trace got = { .generation = kp__seat_at(slot, seat)->generation };

    kp__step_out(pool, todo);
    int cancel = kp__cancel_hold();
    got.count = pool->stack(got.frame, KP__FRAMES, pool->ctx);
    kp__cancel_free(cancel);
    kp__step_in(pool);
    if (got.count > KP__FRAMES) got.count = KP__FRAMES;
    /* a thread that knows only the resource may have ended the lease meanwhile (kp_lease_of), if
     * nobody shares it */
    const struct kp__seat *s = kp__seat_at(slot, seat);
    if (s->lent && s->generation == got.generation && has_room(pool, kp__errand_of(slot)))
        kp__errand_of(slot)->traces[seat] = got;
}
