/* SPDX-License-Identifier: MIT
 *
 * Shares: what a key has had of a short budget, measured against its weight (L7). Numbers only;
 * budget.c ranks by them. docs/decisions/0013-occupancy-and-lag.md has the reasons.
 *
 * The score of a key that wants one permit more is
 *
 *     (held + 1) / weight  +  lag,        lag = permit-time / weight / (TAU usual holds)
 *
 * `held` is what it has of that. The lag grows while a key holds something and any key is starved;
 * while none is, nothing is counted. Each budget has a virtual time: the lag of the key that was
 * served last. A key that begins to compete starts there; one that comes back starts at most a
 * credit behind it (share.c). So a key neither gains nor loses by pausing, and what it had while
 * nobody was starved is not held against it. After a calm, all is forgotten; but not in the moments
 * in which nobody is starved because the only one that was has just been served.
 */
#ifndef KP__CORE_SHARE_H
#define KP__CORE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__budget;
struct kp__subpool;

#define KP__SHARE_ONE (UINT64_C(1) << 24) /* one permit of weight 1, in a score. A weight is at most
                                             65536 (flow/fields.c): more would round it away */
#define KP__SHARE_TAU 8                   /* usual holds of lag that weigh as much as one permit */

/* What a share is measured in, by budget: live resources that are not idle; leases; creations under
 * way; creations begun. By the first, a key that holds much for long would never have a turn to
 * create (L7). The last is of tokens, which nobody holds: each adds one permit to the lag, at once,
 * however long its creation takes. */
enum kp__measure { KP__IN_USE, KP__LEASED, KP__BEING_MADE, KP__BEGUN, KP__MEASURES };

/* The budgets that a key has to do with. Those before KP__FILED count live resources: a key that
 * has an idle one to spare is filed there (budget.h). */
enum kp__place {
    KP__POOL,
    KP__GROUP_0,
    KP__GROUP_1,
    KP__BOTH_GROUPS, /* of the pair: it has no limit, so nobody ever lacks it */
    KP__FILED,
    KP__LENDING = KP__FILED,
    KP__MAKING,
    KP__TOKENS,
    KP__PLACES
};

/* Of one key. Scores wrap around; only their differences mean anything. */
struct kp__share {
    uint64_t at; /* accounted up to this time of contention */
    uint64_t had[KP__MEASURES];
    struct {
        uint64_t from; /* added to `had`, it gives the lag */
        uint32_t bout; /* the budget's, when `from` was set; 0: never */
    } start[KP__PLACES];
};

/* Of the pool: how long a permit is usually held for one lease, or one creation. Learnt while any
 * key is starved. */
struct kp__usual {
    uint64_t spent, hold; /* ns: permit-time since one last ended; its mean for each of them */
    uint32_t samples;
};

/* How long an invited request stands back for the key that gave something back (serve.c): ns. */
uint64_t kp__courtesy(const struct kp__core *core);

int64_t kp__held(const struct kp__subpool *sub, enum kp__measure measure);

/* Has this key, of what this budget is for, less than its floor? That is of leases, or of live
 * ones. */
bool kp__is_below_floor(const struct kp__budget *budget, const struct kp__subpool *sub);

/* The time of contention: for how long, in all, any key has been starved. */
uint64_t kp__contention(const struct kp__core *core);

/* Count what this key held until now. To be called before each change of what it holds, and before
 * it is ranked. */
void kp__account_now(struct kp__core *core, struct kp__subpool *sub);

/* A lease ended (KP__LEASED, KP__IN_USE), or a creation. */
void kp__usual_learn(struct kp__core *core, enum kp__measure measure);

/* A key begins to compete in this budget, where none did. If none has for TAU usual holds, this is
 * another bout. */
void kp__share_contend(const struct kp__core *core, struct kp__budget *budget);

/* Another bout begins: what keys had before is forgotten. */
void kp__share_anew(struct kp__budget *budget);

/* It begins to compete in this budget, or comes back. */
void kp__share_begin(struct kp__core *core, struct kp__budget *budget, struct kp__subpool *sub);

/* Its score with one permit more than it holds. */
uint64_t kp__share_score(const struct kp__budget *budget, const struct kp__subpool *sub);

/* It is served: the budget's virtual time follows. To be called before its counts change. */
void kp__share_served(struct kp__core *core, struct kp__budget *budget,
                      struct kp__subpool *sub);

/* It gives back what it was served, but did not hold: a token. To be called after its counts have
 * changed. */
void kp__share_refunded(struct kp__core *core, const struct kp__budget *budget,
                        struct kp__subpool *sub);

#endif
