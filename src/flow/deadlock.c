/* SPDX-License-Identifier: MIT
 *
 * Deadlocks: does a thread that is about to sleep wait, in the end, for itself? Only pools with
 * on_deadlock look for them.
 *
 * A request that has to wait needs some lease to end first: one of its key, where the key's own
 * limit binds, else one of the pool. If every thread that holds such a lease sleeps in a request of
 * its own, and the same is true of each of those, none of them ever goes on: no thread that is
 * reachable from the newcomer is awake. (Holt, "Some deadlock properties of computer systems",
 * 1972: with resources of several units a cycle is not enough, it takes a knot.) A holder that is
 * not known to sleep may give back, and what is under way may free something: then there is no
 * deadlock. So whatever is reported is a deadlock, as long as each lease is ended by the thread
 * that got it.
 *
 * A deadlock mostly begins when its last thread begins to wait, for sleepers cannot change who
 * holds what. So each thread looks before it sleeps, and is itself the one to be refused. But what
 * was under way then, or was given back later, may have helped nobody: a resource that was
 * destroyed, the seat of one that nobody may share any more, room that a lowered limit took. Such
 * an end wakes nobody, so who sleeps looks again from time to time. Meanwhile others that come see
 * a deadlock that is not theirs, and leave it to those who are in it.
 *
 * LOCKING. The books of all these pools must not change during the search. So it takes all their
 * locks, in the order of their doors, and holds none when it begins. No other code takes the locks
 * of two pools.
 */
#include "core/table.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/get.h"
#include "flow/here.h"
#include "flow/key.h"

/* ---- the locks of all pools ------------------------------------------------------------------ */

static bool same_world(const struct kp__world *a, const struct kp__world *b)
{
    return a->park == b->park && a->ctx == b->ctx;
}

/* In a child of fork, a pool that was not opened again may have a lock that nobody gives back. */
static bool is_here(const struct kp_pool *door)
{
    /* acquire: pairs with the release in start_anew (fork.c); relaxed: kp__forks is written only in
     * a child of fork, before that has a second thread */
    return atomic_load_explicit(&door->forks, memory_order_acquire) ==
           atomic_load_explicit(&kp__forks, memory_order_relaxed);
}

/* Take the locks of all pools of this world that look for deadlocks, and list these pools. */
static struct kp__pool *lock_all(const struct kp__world *world)
{
    struct kp__pool *all = NULL, *pool;
    struct kp_pool *door;

    for (uint32_t id = 1; (door = kp__door_of(id)) != NULL; id++) {
        /* acquire: pairs with the release in furnish (open.c), when the pool is complete */
        if (!atomic_load_explicit(&door->on_deadlock, memory_order_acquire)) continue;
        if (!same_world(&door->world, world) || !is_here(door)) continue;
        kp__lock_take(&door->lock, &door->world);
        /* relaxed: written under this lock */
        if ((pool = atomic_load_explicit(&door->pool, memory_order_relaxed)) == NULL) {
            kp__lock_give(&door->lock, &door->world);
            continue;
        }
        pool->next_locked = all;
        all = pool;
    }
    return all;
}

/* Give back all these locks but the one of `but`. */
static void unlock_all_but(struct kp__pool *all, const struct kp__pool *but)
{
    struct kp__pool *next;

    for (; all; all = next) {
        next = all->next_locked;
        if (all != but) kp__lock_give(&all->door->lock, all->world);
    }
}

/* ---- who must give back first ---------------------------------------------------------------- */

/* May it be served though no lease ends: by what is under way, or as time passes? */
static bool may_go_on(const struct kp__request *r)
{
    /* relaxed: written under the pool's lock, which is held */
    return atomic_load_explicit(&r->state, memory_order_relaxed) != KP__WAITING ||
           kp__under_way(r) || r->invited || r->offered || !r->sub->rules;
}

/* Is a seat of what is lent left, which it would take? One that drains is kept for another key. */
static bool has_seat(const struct kp__request *r)
{
    const struct kp__rare *rare = r->sub->rare;

    return !(r->flags & KP_FRESH) && (rare->draining || !kp__list_empty(&rare->open_seats));
}

static bool key_binds(const struct kp__request *request)
{
    const struct kp__subpool *sub = request->sub;
    const struct kp__rules *r = sub->rules;
    int64_t lent = sub->count[KP__LENT];

    if (sub->count[KP__CREATING] || sub->count[KP__CLOSING] || sub->contest->promised) return false;
    if ((int64_t)sub->lent_permits >= r->max_lent) return true;
    return !sub->count[KP__IDLE] && !has_seat(request) && lent >= r->max_live + r->reserve;
}

static bool is_group_full(const struct kp__subpool *sub, int which)
{
    const struct kp__budget *group = kp__group_budget(sub, which);

    return group && kp__budget_is_full(group);
}

static bool pool_binds(const struct kp__core *core, const struct kp__subpool *sub)
{
    if (core->count[KP__CREATING] || core->count[KP__CLOSING]) return false;
    if (kp__budget_is_full(&core->lent)) return true;
    return !core->count[KP__IDLE] &&
           (kp__budget_is_full(&core->live) || is_group_full(sub, 0) || is_group_full(sub, 1));
}

/* max_lent none: then it waits for other limits, and no lease that ends helps. */
static bool is_paused(const struct kp__core *core, const struct kp__subpool *sub)
{
    return sub->rules->max_lent == 0 || core->lent.cap == 0;
}

struct search {
    struct kp__pool *pools;
    struct kp__sleeper *newcomer;
    struct kp__sleeper *to_follow;
    struct kp__sleeper *last; /* one that waits for something that the newcomer holds; or NULL */
};

/* The sleepers of all pools, one after the other; NULL for the first. */
static struct kp__sleeper *next_sleeper(const struct search *s, const struct kp__sleeper *after)
{
    const struct kp__pool *p = after ? after->pool : s->pools;
    struct kp__list *l = after ? kp__list_next(&p->sleepers, &after->link) : NULL;

    if (after && !l) p = p->next_locked;
    for (; !l && p; p = p->next_locked) l = kp__list_first(&p->sleepers);
    return l ? KP__OF(l, struct kp__sleeper, link) : NULL;
}

static struct kp__sleeper *sleeper_of(const struct search *s, uint32_t thread)
{
    struct kp__sleeper *sleeper = NULL;

    if (thread == s->newcomer->thread) return s->newcomer;
    while ((sleeper = next_sleeper(s, sleeper)) != NULL && sleeper->thread != thread) continue;
    return sleeper;
}

/* `by` waits for this lease to end. False: its holder is not known to sleep, and may end it. */
static bool follow_holder(struct search *s, struct kp__sleeper *by, const struct kp__seat *seat)
{
    struct kp__sleeper *holder = sleeper_of(s, seat->thread);

    if (!holder) return false;
    if (holder == s->newcomer) s->last = by;
    if (holder->seen) return true;
    holder->seen = true;
    holder->by = by;
    holder->holds = seat;
    holder->next = s->to_follow;
    s->to_follow = holder;
    return true;
}

/* The same for what was revoked of `sub`; only what has one seat is. Returns how many there are
 * whose holders sleep. */
static int64_t follow_revoked(struct search *s, struct kp__sleeper *by,
                              const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;
    int64_t asleep = 0;

    while ((slot = kp__next_slot(&sub->rare->taken, slot)) != NULL)
        asleep += follow_holder(s, by, kp__seat_at(slot, 0));
    return asleep;
}

/* As many as may be were revoked of this key, or in all, and are out, so that one of them would
 * have to come back first (kp__revoke_is_due). Do all who have them sleep, and is none of them just
 * being revoked or destroyed? */
static bool none_more_is_revoked(struct search *s, struct kp__sleeper *by,
                                 const struct kp__subpool *sub)
{
    const struct kp__core *core = &by->pool->core;
    int64_t of_key = (int64_t)sub->rare->revoked + sub->rare->revoking, asleep = 0;
    int64_t in_all = (int64_t)core->revoked + core->revoking;

    if (of_key >= sub->rules->max_live) return follow_revoked(s, by, sub) == of_key;
    if (in_all < core->live.cap) return false;
    for (sub = NULL; (sub = kp__next_sub(core, sub)) != NULL;) asleep += follow_revoked(s, by, sub);
    return asleep == in_all;
}

/* Is it being revoked, or will it be, unless it comes back first (limits.revoke_after_ms)? */
static bool revoke_helps(struct search *s, struct kp__sleeper *by, const struct kp__slot *slot,
                         const struct kp__seat *seat)
{
    const struct kp__subpool *sub = slot->sub;
    bool will_be = seat->hold == KP__HELD && seat->since && slot->errand->seats == 1 &&
                   sub->rules->revoke_after != KP__NEVER;

    return seat->hold == KP__REVOKING || (will_be && !none_more_is_revoked(s, by, sub));
}

/* `by` waits for this lease of a lent slot to end. False: its holder is not known to sleep, and may
 * end it, or it is taken from its holder. */
static bool follow_seat(struct search *s, struct kp__sleeper *by, const struct kp__slot *slot,
                        const struct kp__seat *seat)
{
    if (!seat->lent) return true;
    if (seat->ending || revoke_helps(s, by, slot, seat)) return false;
    return follow_holder(s, by, seat);
}

static bool follow_key(struct search *s, struct kp__sleeper *by, const struct kp__subpool *sub)
{
    const struct kp__slot *slot = NULL;

    while ((slot = kp__next_slot(KP__SLOTS(sub, KP__LENT), slot)) != NULL)
        for (uint32_t i = 0; i < slot->errand->seats; i++)
            if (!follow_seat(s, by, slot, kp__seat_at(slot, i))) return false;
    return true;
}

static bool follow_pool(struct search *s, struct kp__sleeper *by)
{
    const struct kp__subpool *sub = NULL;

    while ((sub = kp__next_sub(&by->pool->core, sub)) != NULL)
        if (!follow_key(s, by, sub)) return false;
    return true;
}

/* Do all who could give back what this sleeper waits for sleep, too? */
static bool holders_sleep(struct search *s, struct kp__sleeper *sleeper)
{
    const struct kp__subpool *sub = sleeper->request->sub;

    if (may_go_on(sleeper->request) || is_paused(&sleeper->pool->core, sub)) return false;
    if (key_binds(sleeper->request)) return sub->leases > 0 && follow_key(s, sleeper, sub);
    return pool_binds(&sleeper->pool->core, sub) && follow_pool(s, sleeper);
}

/* Is nobody awake among all who are reachable from the newcomer? */
static bool is_deadlock(struct search *s)
{
    struct kp__sleeper *sleeper = NULL;

    while ((sleeper = next_sleeper(s, sleeper)) != NULL) sleeper->seen = false;
    s->newcomer->seen = true;
    s->newcomer->next = NULL;
    s->to_follow = s->newcomer;
    while ((sleeper = s->to_follow) != NULL) {
        s->to_follow = sleeper->next;
        if (!holders_sleep(s, sleeper)) return false;
    }
    return true;
}

/* ---- reporting ------------------------------------------------------------------------------- */

/* What this sleeper waits for. The lock is held, so the user's key_type.text is not called. */
static void say_wanted(kp_why *why, const struct kp__sleeper *sleeper)
{
    const struct kp__subpool *sub = sleeper->request->sub;
    char name[40];

    (void)kp__key_print_plain(&sleeper->pool->key_type, kp__key_of(sleeper->pool, sub), name,
                              sizeof name);
    kp__say_more(why, "%s%s", key_binds(sleeper->request) ? "" : "room for ", name);
}

/* Write the sentence: the chain of waits that leads back to the newcomer, if there is one. */
static void say(const struct search *s, kp_why *why)
{
    struct kp__sleeper *next = NULL;

    kp__say(why, KP_EDEADLK, "deadlock: you wait for ");
    say_wanted(why, s->newcomer);
    for (struct kp__sleeper *at = s->last; at; next = at, at = at->by) at->next = next;
    if (!s->last) kp__say_more(why, ", and all who could serve you are waiting too");
    for (next = s->last ? s->newcomer->next : NULL; next; next = next->next) {
        kp__say_more(why, ", lent to %s, who waits for ",
                     next->holds->tag ? next->holds->tag : "another borrower");
        say_wanted(why, next);
    }
    if (s->last) kp__say_more(why, ", lent to you");
}

static bool refuses(const struct kp__pool *pool)
{
    /* relaxed: constant once the pool is open */
    return atomic_load_explicit(&pool->door->on_deadlock, memory_order_relaxed) ==
           KP_DEADLOCK_REFUSE;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

/* A deadlock is told once, and not again by others who are in it, too. */
static void note_told(const struct search *s)
{
    struct kp__sleeper *sleeper = NULL;

    while ((sleeper = next_sleeper(s, sleeper)) != NULL) *sleeper->told |= sleeper->seen;
}

/* A thread that sleeps looks again when as much time has passed as it had waited, within these. The
 * explorer has it look once, since a thread that may wake at any time makes too many orders. */
#ifndef KP__LOOKS_AGAIN
#define KP__LOOKS_AGAIN UINT64_C(10000000) /* 10 ms */
#endif
#define AT_LEAST_EVERY UINT64_C(10000000000) /* 10 s */

static uint64_t next_look(const struct kp__get *g)
{
    uint64_t now = kp__time(g->pool);
    uint64_t pause = kp__sooner(kp__waited(g->request, now), AT_LEAST_EVERY);

    return kp__later(now, pause > KP__LOOKS_AGAIN ? pause : KP__LOOKS_AGAIN);
}

/* The newcomer has its answer. */
static void refuse(struct kp__get *g, const kp_why *why, struct kp__todo *todo)
{
    struct kp__request *r = g->request;

    (void)kp__withdraw(&g->pool->core, r, kp__time(g->pool), todo);
    if (r->why) *r->why = *why;
    r->grant.code = KP_EDEADLK;
}

/* The newcomer joins the sleepers only after it has looked: otherwise another thread that looks at
 * the same time would count on one that is about to be refused; and after it has told, since the
 * listener may itself wait for something. */
uint64_t kp__sleep_begin(struct kp__get *g, struct kp__sleeper *self, struct kp__todo *todo)
{
    struct kp__pool *pool = g->pool;
    struct kp__request *r = g->request;
    struct search s = { .newcomer = self };
    kp_why why;

    *self = (struct kp__sleeper){ .thread = kp__thread_number(), .pool = pool, .request = r,
                                   .told = &g->told };
    kp__list_init(&self->link);
    kp__step_out(pool, todo);
    s.pools = lock_all(pool->world); /* this one too: it cannot be freed while we are `inside` */
    pool->inside--;
    bool strict = refuses(pool), found = is_deadlock(&s) && (s.last || !strict);
    bool tells = found && !g->told;
    if (found) say(&s, &why);
    if (found && strict) refuse(g, &why, todo);
    else if (tells && s.last) note_told(&s); /* who is not in it does not know the circle */
    unlock_all_but(s.pools, pool);
    if (tells) g->told = true;
    if (tells && pool->on_event)
        kp__event_of(pool, KP_EVENT_DEADLOCK, r, KP_EDEADLK, &why, todo);
    kp__list_push_back(&pool->sleepers, &self->link);
    return g->told ? KP__NEVER : next_look(g);
}

void kp__sleep_end(struct kp__sleeper *self)
{
    kp__list_remove(&self->link);
}
