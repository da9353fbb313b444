/* SPDX-License-Identifier: MIT
 *
 * Rules in a pool: drafts of them, the groups that they name, and those of a new key, with the help
 * of the user's limits_for. What limits mean and which are refused: limits.c; how they change while
 * in use: limits_set.c.
 */
#include <string.h>

#include "base/cancel.h"
#include "core/calendar.h"
#include "core/serve.h"
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/settings.h"

/* ---- drafts ---------------------------------------------------------------------------------- */

void kp__draft_begin(struct kp__draft *d, struct kp__rules *const *place)
{
    d->place = place;
    d->from = *place;
    d->from->refs++;
    d->rules = NULL;
}

int kp__draft_make(struct kp__pool *pool, struct kp__draft *d, const kp_limits *limits, kp_why *why,
                   struct kp__todo *todo)
{
    bool every = d->place == &pool->core.rules; /* they are for every key */

    kp__step_out(pool, todo);
    int code = kp__rules_make(pool->world, limits, &d->rules, why);
    kp__step_in(pool);
    struct kp__bounds bounds = kp__bounds_of(pool, every); /* as they are by now */
    if (code == 0) code = kp__rules_fit_driver(d->rules, &pool->driver, why);
    if (code == 0) code = kp__rules_fit(d->rules, &bounds, why);
    return code == 0 && *d->place != d->from ? KP_EAGAIN : code;
}

void kp__draft_end(struct kp__pool *pool, struct kp__draft *d)
{
    struct kp__rules *from = kp__rules_unref(d->from);

    if (!from && !d->rules) return;
    kp__slip_out(pool);
    kp__rules_drop(pool->world, from);
    kp__rules_drop(pool->world, d->rules);
    kp__step_in(pool);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Make a group, of a spare one or of new memory, unless somebody else was faster. With the lock,
 * given back meanwhile. */
static int make_group(struct kp__pool *pool, int which, int64_t id)
{
    struct kp__core *core = &pool->core;
    struct kp__group *group;

    if (!kp__make_room(pool)) return KP_ENOMEM; /* else the map has an array, which is enough */
    if (kp__list_empty(&core->spare_groups)) {
        kp__slip_out(pool);
        group = kp__alloc(pool->world, sizeof *group, 16);
        kp__step_in(pool);
        if (!group) return KP_ENOMEM;
        group->serial = 0;
        kp__list_init(&group->link);
        kp__list_push_back(&core->spare_groups, &group->link);
    }
    if (kp__group_find(core, which, id)) return 0;
    group = KP__OF(kp__list_first(&core->spare_groups), struct kp__group, link);
    kp__list_remove(&group->link);
    kp__group_enter(core, group, which, id);
    return 0;
}

/* One group. KP_EAGAIN: it was not there, and was made. */
static int group_of(struct kp__pool *pool, int which, int64_t id, struct kp__group **out)
{
    if ((*out = kp__group_find(&pool->core, which, id)) != NULL) return 0;
    int code = make_group(pool, which, id);
    return code ? code : KP_EAGAIN;
}

int kp__groups_of(struct kp__pool *pool, const struct kp__rules *rules,
                  struct kp__group *group[KP__GROUPS_AND_PAIR])
{
    int code = 0;

    for (int g = 0; g < KP__GROUPS_AND_PAIR; g++) group[g] = NULL;
    for (int g = 0; code == 0 && g < KP__GROUPS; g++)
        if (rules->group[g] != 0 && pool->core.group_max_live[g] != KP__UNBOUND)
            code = group_of(pool, g, rules->group[g], &group[g]);
    if (code == 0 && group[0] && group[1])
        code = group_of(pool, KP__PAIR, kp__pair_id(group[0], group[1]), &group[KP__PAIR]);
    return code;
}

/* ---- of a new key ---------------------------------------------------------------------------- */

/* What limits_for is handed for a new key, and what it left of that. */
struct asked {
    kp_limits given, left;
};

/* Ask the user's limits_for. With the lock, given back meanwhile. */
static void ask_limits(struct kp__pool *pool, struct kp__subpool *sub, struct asked *asked)
{
    asked->left = asked->given = kp__limits_given(&pool->core.rules->said);
    kp__slip_out(pool);
    int cancel = kp__cancel_hold();
    pool->limits_for(kp__key_of(pool, sub), &asked->left, pool->ctx);
    kp__cancel_free(cancel);
    kp__step_in(pool);
}

/* The rules that limits_for has made of the pool's own, and their groups. KP_EAGAIN: begin again,
 * since the pool's have changed meanwhile, or a group had to be made. */
static int rules_from(struct kp__pool *pool, const struct asked *asked, struct kp__rules **out,
                      struct kp__group *group[KP__GROUPS_AND_PAIR], kp_why *why)
{
    struct kp__draft d;
    struct kp__todo todo;

    kp__todo_init(&todo, pool->world);
    kp__draft_begin(&d, &pool->core.rules);
    kp_limits limits = kp__limits_taken(&asked->left, &asked->given, &d.from->said);
    int code = kp__draft_make(pool, &d, &limits, why, &todo);
    if (code == 0) code = kp__groups_of(pool, d.rules, group);
    *out = d.rules;
    if (code == 0) d.rules = NULL; /* they are the key's */
    kp__draft_end(pool, &d);
    return code;
}

/* The rules of a new key, and its groups: the pool's own rules, or what limits_for made of them.
 * With the lock, given back meanwhile. */
static int make_rules(struct kp__pool *pool, struct kp__subpool *sub, struct kp__rules **out,
                      struct kp__group *group[KP__GROUPS_AND_PAIR], kp_why *why)
{
    struct asked asked;
    int code;

    if (pool->limits_for) ask_limits(pool, sub, &asked);
    do code = pool->limits_for ? rules_from(pool, &asked, out, group, why)
                               : kp__groups_of(pool, *out = pool->core.rules, group);
    while (code == KP_EAGAIN);
    return code;
}

/* New keys are let in even if not all keys can keep what they were promised then; that is reported
 * once. */
static void tell_overpromised(struct kp__pool *pool, struct kp__todo *todo)
{
    const struct kp__core *core = &pool->core;
    const char *sentence = NULL;

    if (core->minima > core->live.cap)
        sentence = "limits.min_live of all keys adds up to more than budget.max_live; not every "
                   "key can have its minimum";
    else if (core->floors > core->live.cap)
        sentence = "limits.floor of all keys adds up to more than budget.max_live; not every key "
                   "can have its floor";
    else if (core->floors > kp__lent_bound(core->lent.cap))
        sentence = "limits.floor of all keys adds up to more than budget.max_lent; not every key "
                   "can have its floor";
    if (!sentence || pool->overpromised) return;
    pool->overpromised = true;
    (void)kp__misuse_within(pool, todo, NULL, sentence);
}

/* No rules could be made: refuse all who wait for them, and tell them why. */
static void refuse(struct kp__pool *pool, struct kp__subpool *sub, int code, const kp_why *cause,
                   struct kp__todo *todo)
{
    for (int q = 0; q < KP__QUEUES; q++) {
        const struct kp__list *queue = &sub->rare->queue[q], *l;
        for (l = kp__list_first(queue); l; l = kp__list_next(queue, l)) {
            const struct kp__request *r = KP__OF(l, const struct kp__request, link);
            if (r->why) *r->why = *cause;
        }
    }
    kp__refuse_all(&pool->core, sub, code, todo);
}

int kp__rule(struct kp__pool *pool, struct kp__subpool *sub, kp_why *why)
{
    struct kp__rules *rules;
    struct kp__group *group[KP__GROUPS_AND_PAIR];
    struct kp__todo todo;

    if (sub->rules || sub->ruling) return 0;
    kp_why cause = { .code = 0 };
    kp__todo_init(&todo, pool->world);
    sub->ruling = true;
    int code = make_rules(pool, sub, &rules, group, &cause);
    sub->ruling = false;
    if (code == 0) {
        kp__note_rules(pool, rules);
        kp__table_rule(&pool->core, sub, rules, group);
        if (rules->prefill && rules->min_live > 0) sub->refill = true;
        if (sub->refill) kp__file_sub(&pool->core, sub, kp__time(pool)); /* kp_warm sets it, too */
        kp__settle(&pool->core, sub, kp__time(pool), &todo);
        tell_overpromised(pool, &todo);
    } else {
        if (cause.code == 0) kp__say(&cause, code, NULL);
        if (why) *why = cause;
        refuse(pool, sub, code, &cause, &todo);
    }
    kp__tell_news(pool, &todo); /* a kp_warm of it goes on, or asks for rules again */
    kp__step_out(pool, &todo);
    if (code == 0) kp__event(pool, KP_EVENT_KEY_MADE, sub, NULL, 0, NULL);
    kp__step_in(pool);
    return code;
}
