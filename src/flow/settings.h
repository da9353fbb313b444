/* SPDX-License-Identifier: MIT
 *
 * Settings: limits (limits.c, limits_set.c), budgets (budgets.c) and plans (plan.c), from what the
 * user said to the numbers that decisions are taken by. What is not valid is refused with the
 * field's name. What each option may be on its own: fields.h.
 */
#ifndef KP__FLOW_SETTINGS_H
#define KP__FLOW_SETTINGS_H

#include "core/resize.h"
#include "flow/flow.h"

/* Fill *why with what was refused, and why. Returns KP_ECONFIG. */
int kp__refused(kp_why *why, const char *field, const char *sentence);

int64_t kp__count(int64_t said);    /* KP_UNLIMITED, KP_OFF: KP__UNBOUND; KP_NONE: 0 */
uint64_t kp__span(int64_t said_ms); /* in ns; KP_OFF: KP__NEVER; KP_NONE: 0 */

/* Is a plan valid (plan.c)? 0, or KP_ECONFIG with its why filled. */
int kp__plan_check(const kp_plan *plan);

/* ---- limits, and the rules made of them ------------------------------------------------------ */

/* Limits in which every number is said (R2): zero is zero. What was not said comes from `base`, or
 * is the default (NULL). Some of that follows from other numbers (max_waiting, excess_over), and is
 * worked out last, by kp__limits_given; it goes on following if it is said to be what follows. */
kp_limits kp__limits_merge(const kp_limits *said, const kp_limits *base);

/* kp__limits_given: the same, with what follows worked out; limits_for is handed that.
 * kp__limits_taken: what limits_for left of `given`. A number that it did not touch is as in `base`
 * again, so that it may follow from one that it did touch. */
kp_limits kp__limits_given(const kp_limits *base);
kp_limits kp__limits_taken(const kp_limits *left, const kp_limits *given, const kp_limits *base);

/* The same as kp__limits_given, as the user would say it: zero is KP_NONE. Merged with `base` again
 * it is `base`. */
kp_limits kp__limits_read(const kp_limits *base);

/* The rules that are made of limits, by which decisions are taken. 0, or why not. */
int kp__rules_make(const struct kp__world *world, const kp_limits *limits, struct kp__rules **out,
                   kp_why *why);
void kp__rules_drop(const struct kp__world *world, struct kp__rules *rules); /* NULL is fine */

/* What budgets allow, to hold limits against it. `keys`: how many keys have these limits; 1 if that
 * is not known. */
struct kp__bounds {
    int64_t live, lent, group[KP__GROUPS], keys;
    bool changing; /* the budgets change, so one of them is at fault */
};

/* What budget.max_lent allows floors. A budget that lets none be lent is a pause, and takes no
 * key's floor away; so it does not bind. */
static inline int64_t kp__lent_bound(int64_t max_lent)
{
    return max_lent ? max_lent : KP__UNBOUND;
}

/* Has the driver the functions that these rules need? 0, or KP_ECONFIG with the field in *why. */
int kp__rules_fit_driver(const struct kp__rules *rules, const kp_driver *driver, kp_why *why);

/* Can they ever hold within the budgets? 0, or KP_ECONFIG with the field in *why. */
int kp__rules_fit(const struct kp__rules *rules, const struct kp__bounds *bounds, kp_why *why);

/* And together with what the other keys keep, if they replace `old`? With the lock. */
int kp__rules_add_up(const struct kp__pool *pool, const struct kp__rules *rules,
                     const struct kp__rules *old, kp_why *why);

/* ---- drafts (rules.c) ------------------------------------------------------------------------ */

/* New rules that are worked out from others, for which the lock is given back. They are of use only
 * if those others are still in their place then. */
struct kp__draft {
    struct kp__rules *const *place; /* where the others are: the pool's, or a key's */
    struct kp__rules *from;         /* the others; kept, so that no newer ones get their address */
    struct kp__rules *rules;        /* the new ones; NULL: not made, or taken by the caller */
};

/* Begin a draft from the rules in this place; make it, of limits; and end it, in any case. All with
 * the lock. To make it, the lock is given back meanwhile. To end it, only if there is something to
 * free: not if its rules were taken, and what they are from is still in use.
 * Making answers 0, or why these limits are refused; or KP_EAGAIN: begin again, with the rules that
 * are in that place now. */
void kp__draft_begin(struct kp__draft *d, struct kp__rules *const *place);
int kp__draft_make(struct kp__pool *pool, struct kp__draft *d, const kp_limits *limits, kp_why *why,
                   struct kp__todo *todo);
void kp__draft_end(struct kp__pool *pool, struct kp__draft *d);

/* The groups that these rules name, and the pair of both. With the lock. KP_EAGAIN: one had to be
 * made, for which the lock was given back, so the caller has to look at all again. */
int kp__groups_of(struct kp__pool *pool, const struct kp__rules *rules,
                  struct kp__group *group[KP__GROUPS_AND_PAIR]);

/* ---- do uses count? -------------------------------------------------------------------------- */

/* Does any circuit of this pool count uses, or did one ever? */
static inline bool kp__uses_count(const kp_pool *door)
{
    /* relaxed: a use that ends while limits are being set may count as one from before or after */
    return atomic_load_explicit(&door->uses_count, memory_order_relaxed);
}

/* A key is about to have these rules. With the lock. */
static inline void kp__note_rules(struct kp__pool *pool, const struct kp__rules *rules)
{
    /* relaxed: as in kp__uses_count */
    if (kp__breaks(rules, KP_BREAK_USE))
        atomic_store_explicit(&pool->door->uses_count, true, memory_order_relaxed);
}

/* ---- budgets --------------------------------------------------------------------------------- */

/* Is a budget valid? And can limits hold within it, if all keys have them (`same`), or at least
 * one? 0, or KP_ECONFIG with the field in *why. */
int kp__budget_check(const kp_budget *budget, kp_why *why);
int kp__budget_holds(const kp_budget *budget, const struct kp__rules *rules, bool same,
                     kp_why *why);

/* The fields that limit groups, by name. */
extern const char *const kp__group_fields[KP__GROUPS];

/* A budget in numbers. */
struct kp__allowance kp__allowance_of(const kp_budget *budget);

/* The bounds of a pool; `every`: for the limits of every key. */
struct kp__bounds kp__bounds_of(const struct kp__pool *pool, bool every);

#endif
