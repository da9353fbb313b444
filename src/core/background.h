/* SPDX-License-Identifier: MIT
 *
 * What the background makes without being asked by a request: how much is wanted, what it may make
 * now, and the line of keys that budget.max_creating holds up (background.c). flow/keeper.c and
 * flow/warm.c make it.
 */
#ifndef KP__CORE_BACKGROUND_H
#define KP__CORE_BACKGROUND_H

#include "core/core.h"

/* ---- how much is wanted ---------------------------------------------------------------------- */

/* How many resources the rules want the key to have (min_live, min_idle, utilization); `warm`: one
 * at least. */
int64_t kp__ready_wanted(const struct kp__subpool *sub, bool warm);

/* How many of these are missing, for the background to make. */
int64_t kp__refill_wanted(struct kp__core *core, const struct kp__subpool *sub, bool warm);

/* Have the keeper make them, if any are missing. */
void kp__want_more(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* Something of the key is gone: have the keeper make up for it, if the rules say so (refill), and
 * go on with what is to be made or replaced. */
void kp__make_up_for(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* ---- what may be made now -------------------------------------------------------------------- */

/* May one more creation begin, by all rules but max_live of the key itself: its health, budgets,
 * the rate? */
bool kp__may_create(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* After failed creates the background makes none before this: the end of the pause, or of the time
 * for which the circuit is open, whichever is later. KP__NEVER: until kp_retry_now. */
uint64_t kp__rests_until(const struct kp__subpool *sub);

/* Take a permit to make one of them (refill, warm-up). False: none is to be made now. */
bool kp__refill_permit(struct kp__core *core, struct kp__subpool *sub, bool warm, uint64_t now);

/* The same for a replacement that is wanted (renew.h), which counts as being made from then on. */
bool kp__renew_permit(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* What keeps the background at this moment from making one that the key lacks. */
enum kp__limit kp__refill_bound(struct kp__core *core, const struct kp__subpool *sub, uint64_t now);

/* ---- held up --------------------------------------------------------------------------------- */

/* None is to be made now. If that is for budget.max_creating, the key stands behind the others that
 * this *holds up*, until it has a permit, or is dropped: each creation that is over lets the first
 * of them on, which then looks again. If there is still room after that, it wants nothing more or
 * has to wait for something else, and lets the next one on (I14). */
void kp__hold_up(struct kp__core *core, struct kp__subpool *sub);
void kp__hold_up_end(struct kp__core *core, struct kp__subpool *sub);
void kp__let_on(struct kp__core *core, uint64_t now);
void kp__let_next_on(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

#endif
