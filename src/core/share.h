/* SPDX-License-Identifier: MIT
 *
 * Shares: what a key has had of a short budget, against its weight (L7). Numbers only; budget.c
 * ranks by them. docs/decisions/0013-occupancy-and-lag.md has the reasons.
 *
 * The score of a key that wants one permit more is
 *
 *     (held + 1) / weight  +  lag,        lag = permit-time / weight / (TAU usual holds)
 *
 * Held counts what is in use. The lag grows while the key holds something and anybody is starved;
 * in calm nothing is counted. Each budget has a virtual time, the lag of whoever was served last: a
 * key that begins to compete starts there, one that comes back at most a credit behind it. So
 * neither idleness nor its absence is worth anything, and what somebody had in calm is not held
 * against him.
 */
#ifndef KP__CORE_SHARE_H
#define KP__CORE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__budget;
struct kp__subpool;

#define KP__SHARE_ONE (UINT64_C(1) << 24) /* one permit of weight 1, in a score */
#define KP__SHARE_TAU 8                   /* usual holds of lag that weigh as much as one permit */

/* What a share is measured in, by budget: live resources that are not idle, or leases. */
enum kp__measure { KP__IN_USE, KP__LEASED, KP__MEASURES };

/* The budgets that a key may compete in. */
enum kp__place {
    KP__POOL,
    KP__GROUP_0,
    KP__GROUP_1,
    KP__LENDING,
    KP__MAKING,
    KP__TOKENS,
    KP__PLACES,
    KP__NOWHERE = KP__PLACES /* nobody lacks anything of it */
};

/* Of one key. Scores wrap around; only their differences mean anything. */
struct kp__share {
    uint64_t at; /* accounted until then */
    uint64_t had[KP__MEASURES];
    struct {
        uint64_t from; /* to be added to what it had */
        uint32_t bout; /* the budget's, when that was set; 0: never */
    } start[KP__PLACES];
};

/* Of the pool: what a lease usually takes of a permit's time. Learnt while somebody is starved. */
struct kp__usual {
    uint64_t spent, hold; /* permit-time since a lease last ended, its mean per lease: ns */
    uint32_t samples;
};

/* How long somebody who was invited leaves the way to the one who gave back: ns. */
uint64_t kp__courtesy(const struct kp__core *core);

int64_t kp__held(const struct kp__subpool *sub, enum kp__measure measure);

/* Count what this key held until now. Before each change of what it holds; and once more before it
 * is ranked. */
void kp__account_now(struct kp__core *core, struct kp__subpool *sub);

/* A lease ended. */
void kp__usual_learn(struct kp__core *core);

/* It begins to compete in this budget, or comes back. */
void kp__share_begin(struct kp__core *core, const struct kp__budget *budget,
                     struct kp__subpool *sub);

/* Its score with one permit more than it holds. */
uint64_t kp__share_score(const struct kp__budget *budget, const struct kp__subpool *sub);

/* It was served: the budget's virtual time follows. Before its counts change. */
void kp__share_served(struct kp__core *core, struct kp__budget *budget,
                      struct kp__subpool *sub);

#endif
