/* SPDX-License-Identifier: MIT
 *
 * The books of a core, counted again from its lists by other means than the core's own, and L1 in
 * its simplest form: no request waits for what is free. Included by core_stage.h, which has the
 * stage.
 */
#ifndef KP_TESTS_CORE_BOOKS_H
#define KP_TESTS_CORE_BOOKS_H

#define STAGE_EACH(l, head) \
    (const struct kp__list *l = kp__list_first(head); l; l = kp__list_next(head, l))
#define STAGE_KEYS(sub, core) \
    (const struct kp__subpool *sub = NULL; (sub = kp__next_sub(core, sub)) != NULL;)

/* Counts the leases of one slot; *sits: whether it has a free seat for others. */
static inline uint32_t stage_count_seats(const struct stage *s, struct kp__slot *slot, bool *sits)
{
    const struct kp__errand *errand = slot->errand;
    uint32_t lent = 0, ending = 0;

    for (uint32_t i = 0; i < errand->seats; i++) {
        lent += kp__seat_at(slot, i)->lent;
        ending += kp__seat_at(slot, i)->lent && kp__seat_at(slot, i)->ending;
    }
    assert_int_equal(lent, errand->borrowers);
    assert_int_equal(lent > 0, slot->state == KP__LENT || slot->state == KP__REVOKED);
    *sits = slot->state == KP__LENT && lent < errand->seats && !errand->doomed &&
            !errand->draining && !slot->doubted && ending < lent;
    if (errand->seats > 1) assert_int_equal(kp__list_linked(&errand->open_seat), *sits);
    else if (slot->state == KP__IDLE) assert_false(kp__has_errand(slot));
    if (slot->state == KP__IDLE || slot->state == KP__LENT || slot->state == KP__REVOKED)
        assert_ptr_equal(kp__slot_of((struct kp__core *)&s->core, slot->resource), slot);
    return lent;
}

static inline void stage_count_slots(const struct stage *s, const struct kp__subpool *sub)
{
    uint32_t leases = 0, open = 0, doubts = 0, n[KP__RECLAIMED + 1] = { 0 };
    bool sits;

    for (uint32_t i = 0; i < s->core.slots.made; i++) {
        struct kp__slot *slot = kp__slab_at(&s->core.slots, i);
        if (slot->state == KP__FREE || slot->sub != sub) continue;
        n[slot->state]++;
        doubts += slot->doubted;
        uint32_t lent = stage_count_seats(s, slot, &sits);
        if (slot->state < KP__REVOKED) leases += lent;
        open += sits;
    }
    assert_int_equal(doubts, sub->rare->doubts);
    assert_int_equal(n[KP__TESTED], sub->rare->tests);
    assert_true(n[KP__CREATING] + n[KP__TESTED] <= sub->count[KP__CREATING]); /* rest: permits */
    for (int state = KP__IDLE; state < KP__STATES; state++)
        assert_int_equal(n[state], sub->count[state]);
    for (int state = KP__IDLE; state <= KP__LENT; state++) {
        for STAGE_EACH (l, KP__SLOTS(sub, state)) {
            assert_int_equal(KP__OF(l, const struct kp__slot, link)->state, state);
            n[state]--;
        }
        assert_int_equal(n[state], 0);
    }
    for STAGE_EACH (l, &sub->rare->taken) n[KP__REVOKED]--, n[KP__RECLAIMED]++;
    assert_int_equal(n[KP__REVOKED], 0);
    assert_int_equal(n[KP__RECLAIMED], sub->rare->revoked);
    for STAGE_EACH (l, &sub->rare->open_seats) open--;
    assert_int_equal(open, 0);
    assert_int_equal(leases, sub->leases);
    assert_true(sub->lent_permits >= leases);
}

static inline void stage_count_requests(const struct kp__subpool *sub)
{
    uint32_t waiting = 0;

    for (int q = 0; q < KP__QUEUES; q++) {
        const struct kp__request *before = NULL;
        for STAGE_EACH (l, &sub->rare->queue[q]) {
            const struct kp__request *r = KP__OF(l, const struct kp__request, link);
            assert_int_equal(r->queue, q);
            assert_true(!before || kp__came_before(before, r));
            if (!r->of_loop) assert_int_not_equal(atomic_load(&r->state), KP__ANSWERED);
            assert_int_equal(r->grant.kind, KP__GRANT_WAIT);
            before = r;
            waiting++;
        }
    }
    assert_int_equal(waiting, sub->waiting);
}

/* A key can be asked to make room if, and only if, it has an idle one above its minimum. */
static inline void stage_count_spare(const struct stage *s, const struct kp__subpool *sub)
{
    int64_t live = (int64_t)sub->count[KP__CREATING] + sub->count[KP__IDLE] + sub->count[KP__LENT];
    bool spare = s->core.evicts && sub->rules && sub->count[KP__IDLE] > 0 &&
                 live > sub->rules->min_live && live > sub->rules->floor;

    assert_int_equal(kp__heap_holds(&sub->contest->evict[KP__POOL].node),
                     spare && s->core.live.cap < KP__UNBOUND);
    for (int g = 0; g < KP__GROUPS_AND_PAIR; g++)
        assert_int_equal(kp__heap_holds(&sub->contest->evict[KP__GROUP_0 + g].node),
                         spare && sub->contest->group[g]);
}

static inline int64_t stage_live(const struct kp__subpool *sub)
{
    return (int64_t)sub->count[KP__CREATING] + sub->count[KP__IDLE] + sub->count[KP__LENT] +
           sub->count[KP__CLOSING];
}

/* Is a permit promised to a key of the group, with this victim's place? It has one of the group's
 * own, unless this victim, or the second one, is in it, too (*inside). */
static inline bool stage_promised(const struct kp__slot *v, const struct kp__group *group,
                                  int which, bool *inside)
{
    *inside = false;
    if (v->state != KP__CLOSING || !v->errand->victim.promised_to) return false;
    bool heir = v->errand->victim.promised_to->contest->group[which] == group;
    for (; v; v = v->errand->victim.next) *inside |= v->sub->contest->group[which] == group;
    return heir;
}

static inline void stage_count_groups(struct stage *s)
{
    for (int i = 0; i < STAGE_GROUPS; i++) {
        struct kp__group *group = &s->groups[i];
        int64_t used = 0, closing = 0;
        int which = (int)group->budget.place - KP__GROUP_0;
        if (which < 0) continue; /* no group yet */
        for STAGE_KEYS (sub, &s->core) {
            if (sub->contest->group[which] != group) continue;
            used += stage_live(sub);
            closing += sub->count[KP__CLOSING];
        }
        for (uint32_t k = 0; k < s->core.slots.made; k++) {
            bool inside;
            if (!stage_promised(kp__slab_at(&s->core.slots, k), group, which, &inside)) continue;
            used += !inside;
            closing -= inside;
        }
        assert_int_equal(group->budget.used, which == KP__PAIR ? 0 : used);
        assert_int_equal(group->budget.closing, which == KP__PAIR ? 0 : closing);
    }
}

/* Has a waiter been woken to take what is free (kp__heed), where a faster one may come first; or
 * was one offered it? */
static inline bool stage_invited(const struct stage *s)
{
    for STAGE_KEYS (sub, &s->core) {
        for (int q = 0; q < KP__QUEUES; q++)
            for STAGE_EACH (w, &sub->rare->queue[q]) {
                const struct kp__request *r = KP__OF(w, const struct kp__request, link);
                if (r->invited || r->offered) return true;
            }
    }
    return false;
}

/* How many are on open lanes and were in this state when those opened: permits are reserved for
 * them. */
static inline int64_t stage_on_lanes(const struct stage *s, enum kp__state state)
{
    int64_t n = 0;

    for STAGE_KEYS (sub, &s->core)
        for STAGE_EACH (m, KP__SLOTS(sub, state)) n += KP__OF(m, struct kp__slot, link)->on_lane;
    return n;
}

/* Lent permits in use, without those that are only reserved for open lanes. */
static inline int64_t stage_lent(const struct stage *s)
{
    return s->core.lent.used - stage_on_lanes(s, KP__IDLE);
}

/* Could the first request that may create be served right now? Then it must not be waiting. */
static inline bool stage_could_create(const struct stage *s, const struct kp__subpool *sub)
{
    const struct kp__rules *r = sub->rules;
    const struct kp__health *h = &sub->rare->health;
    const struct kp__core *core = &s->core;

    if (!kp__queue_first(sub, KP__EITHER) && !kp__queue_first(sub, KP__FRESH)) return false;
    if (!core->can_create || h->tripped || h->refused || s->now < h->back_off) return false;
    if (kp__token_lacks(&core->rate, s->now)) return false;
    if (stage_lent(s) >= core->lent.cap || sub->lent_permits >= r->max_lent) return false;
    if (sub->count[KP__CREATING] - sub->rare->tests + sub->contest->promised >=
        (h->failures && r->retry_first ? 1 : r->max_creating))
        return false;
    if (core->creating.used >= core->creating.cap) return false;
    if (stage_live(sub) + sub->contest->promised >= r->max_live) return false;
    if (core->live.used >= core->live.cap && core->live.evictable.count == 0) return false;
    for (int g = 0; g < 2; g++) {
        const struct kp__budget *budget = kp__group_budget(sub, g);
        if (budget && budget->used >= budget->cap) return false;
    }
    return true;
}

static inline bool stage_could_take(const struct stage *s, const struct kp__subpool *sub)
{
    if (sub->rare->health.tripped) return false;
    if (!kp__queue_first(sub, KP__EITHER) && !kp__queue_first(sub, KP__TAKERS) &&
        !kp__queue_first(sub, KP__SPONSORS))
        return false;
    if (sub->count[KP__IDLE] == 0 && kp__list_empty(&sub->rare->open_seats)) return false;
    bool lacks = sub->contest->lacks != NULL;
    /* a sponsor has its lent permit already; it does not take what is in doubt */
    if (kp__queue_first(sub, KP__SPONSORS)) return !lacks && sub->rare->doubts == 0;
    return sub->lent_permits < sub->rules->max_lent && stage_lent(s) < s->core.lent.cap &&
           !sub->contest->lacks;
}

static inline void stage_check(struct stage *s)
{
    struct kp__core *core = &s->core;
    uint32_t count[KP__STATES] = { 0 }, leases = 0, waiting = 0, promised = 0, keys = 0;
    uint32_t revoked = 0;
    uint64_t starved = 0, spare = 0;
    int64_t lent = 0, live = 0;

    if (s->uncounted) return;
    for STAGE_KEYS (sub, core) {
        stage_count_slots(s, sub);
        stage_count_requests(sub);
        stage_count_spare(s, sub);
        for (int state = KP__CREATING; state < KP__STATES; state++)
            count[state] += sub->count[state];
        leases += sub->leases;
        waiting += sub->waiting;
        promised += sub->contest->promised;
        revoked += sub->rare->revoked;
        lent += sub->lent_permits;
        live += stage_live(sub);
        starved += sub->contest->lacks != NULL;
        spare += kp__heap_holds(&sub->contest->evict[KP__POOL].node);
        assert_int_equal(sub->contest->lacks != NULL, kp__heap_holds(&sub->contest->starved));
        if (sub->contest->lacks) assert_true(sub->waiting > 0);
        if (sub->rules && core->phase == KP__OPEN && !stage_invited(s)) {
            assert_false(stage_could_create(s, sub));
            assert_false(stage_could_take(s, sub));
        }
        keys++;
    }
    for (int state = KP__CREATING; state < KP__STATES; state++)
        assert_int_equal(core->count[state], count[state]);
    assert_int_equal(core->leases, leases);
    assert_int_equal(core->waiting, waiting);
    assert_int_equal(core->promised, promised);
    assert_int_equal(core->revoked, revoked);
    assert_int_equal(core->key_count, keys);
    assert_int_equal(stage_lent(s), lent);
    assert_int_equal(core->returning, stage_on_lanes(s, KP__LENT));
    assert_int_equal(core->live.used, live);
    assert_int_equal(core->creating.used + core->tests,
                     (int64_t)count[KP__CREATING] + promised);
    assert_int_equal(core->live.evictable.count, spare);
    uint64_t heaps = core->live.starved.count + core->lent.starved.count +
                     core->creating.starved.count + core->rate.budget.starved.count;
    for (int i = 0; i < STAGE_GROUPS; i++) heaps += s->groups[i].budget.starved.count;
    assert_int_equal(heaps, starved);
    stage_count_groups(s);
#if defined KP_VERIFY && KP_VERIFY
    kp__verify(&s->core); /* as the pool does at every unlock */
#endif
}

#endif
