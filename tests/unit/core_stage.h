/* SPDX-License-Identifier: MIT
 *
 * A stage for tests of src/core alone: a core without a pool, whose clock, randomness and wake-ups
 * belong to the test; rules written down as they are decided on; and what flow does around the core
 * in a few lines each. After every step the books are counted again from the lists, by other means
 * than the core's, and nobody may wait for what is free.
 */
#ifndef KP_TESTS_CORE_STAGE_H
#define KP_TESTS_CORE_STAGE_H

#include "base_kit.h"

#include "base/check.h"
#include "core/core.h"

enum { STAGE_WAKES = 64, STAGE_GROUPS = 4 };

struct stage {
    struct kp__core core;
    struct kp__rules rules; /* those of a key made by stage_key, unless it is told others */
    struct kp__world world;
    struct kp__todo todo;
    struct kp__group groups[STAGE_GROUPS];
    uint64_t now, random; /* random: what the world's next answer is */
    uint32_t *woken[STAGE_WAKES];
    int wakes;
    char *next_resource;
    uint64_t next_hash;
    struct kp__seat seats[256]; /* of slots that are shared */
    uint32_t next_seat;
};

static char stage_resources[4096]; /* resources are addresses in here */

static uint64_t stage_random(void *ctx)
{
    return ((struct stage *)ctx)->random;
}

static void stage_wake(uint32_t *word, int how_many, void *ctx)
{
    struct stage *s = ctx;

    assert_int_equal(how_many, 1);
    assert_true(s->wakes < STAGE_WAKES);
    s->woken[s->wakes++] = word;
}

static inline void stage_free(void *p, size_t bytes, void *ctx)
{
    (void)bytes;
    (void)ctx;
    free(p);
}

/* Nothing is limited, nothing expires, nothing is checked. */
static inline struct kp__rules stage_rules(void)
{
    return (struct kp__rules){
        .refs = 1, .max_live = KP__UNBOUND, .max_lent = KP__UNBOUND, .max_idle = KP__UNBOUND,
        .max_creating = KP__UNBOUND, .max_waiting = KP__UNBOUND, .sharing = 1,
        .utilization_pct = 100, .breaker_failures = KP__UNBOUND, .weight = 1,
        .idle_ttl = KP__NEVER, .excess_ttl = KP__NEVER, .max_age = KP__NEVER,
        .create_timeout = KP__NEVER, .shed_target = KP__NEVER, .reserve_after = KP__NEVER,
        .retry_max = KP__NEVER, .reuse = true, .idle_lifo = true,
    };
}

static inline void stage_open(struct stage *s)
{
    struct kp__core *core = &s->core;

    memset(s, 0, sizeof *s);
    s->now = 1000;
    s->next_resource = stage_resources;
    s->rules = stage_rules();
    s->world = (struct kp__world){ .random = stage_random, .wake = stage_wake, .ctx = s };
    core->world = &s->world;
    core->now = s->now;
    core->can_create = true;
    core->leak_after = core->forget_after = KP__NEVER;
    core->max_idle = core->max_waiting = core->max_keys = KP__UNBOUND;
    core->group_max_live[0] = core->group_max_live[1] = KP__UNBOUND;
    core->evicts = true;
    core->rules = &s->rules;
    kp__list_init(&core->all);
    kp__slab_init(&core->slots, sizeof(struct kp__slot));
    kp__slab_init(&core->subpools, sizeof(struct kp__subpool));
    kp__budget_init(&core->live, "budget.max_live", KP__UNBOUND, KP__POOL);
    kp__budget_init(&core->lent, "budget.max_lent", KP__UNBOUND, KP__LENDING);
    kp__budget_init(&core->creating, "budget.max_creating", KP__UNBOUND, KP__MAKING);
    kp__calendar_init(core);
    kp__todo_init(&s->todo, &s->world);
}

static inline void stage_grow(struct kp__map *map)
{
    size_t bytes;
    void *p;

    if ((p = kp__map_spent(map, &bytes)) != NULL) free(p);
    if ((bytes = kp__map_wants(map)) != 0) free(kp__map_grow(map, calloc(1, bytes), bytes));
}

static inline void stage_room(struct stage *s)
{
    struct kp__slab *slabs[] = { &s->core.slots, &s->core.subpools };

    for (int i = 0; i < 2; i++) {
        size_t bytes = kp__slab_wants(slabs[i]);
        if (bytes == 0) continue;
        void *chunk = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        assert_non_null(chunk);
        assert_null(kp__slab_extend(slabs[i], memset(chunk, 0, bytes), bytes));
    }
    stage_grow(&s->core.keys);
    stage_grow(&s->core.idents);
    stage_grow(&s->core.groups);
}

static inline void stage_close(struct stage *s)
{
    kp__map_fini(&s->core.keys, stage_free, NULL);
    kp__map_fini(&s->core.idents, stage_free, NULL);
    kp__map_fini(&s->core.groups, stage_free, NULL);
    kp__slab_fini(&s->core.slots, stage_free, NULL);
    kp__slab_fini(&s->core.subpools, stage_free, NULL);
}

/* ---- the books, counted again ---------------------------------------------------------------- */

#define STAGE_EACH(l, head) \
    (const struct kp__list *l = kp__list_first(head); l; l = kp__list_next(head, l))

static inline void stage_count_slots(const struct stage *s, const struct kp__subpool *sub)
{
    uint32_t leases = 0, open = 0;

    for (int state = KP__CREATING; state < KP__STATES; state++) {
        uint32_t n = 0;
        for STAGE_EACH (l, &sub->slots[state]) {
            struct kp__slot *slot = KP__OF(l, struct kp__slot, link);
            uint32_t lent = 0;
            assert_int_equal(slot->state, state);
            assert_ptr_equal(slot->sub, sub);
            for (uint32_t i = 0; i < slot->seats; i++) lent += kp__seat_at(slot, i)->lent;
            assert_int_equal(lent, slot->borrowers);
            assert_int_equal(lent > 0, state == KP__LENT);
            bool sits = state == KP__LENT && lent < slot->seats && !slot->doomed;
            assert_int_equal(kp__list_linked(&slot->open_seat), sits);
            if (state == KP__IDLE || state == KP__LENT)
                assert_ptr_equal(kp__slot_of((struct kp__core *)&s->core, slot->resource), slot);
            leases += lent;
            open += sits;
            n++;
        }
        if (state == KP__CREATING) assert_true(n <= sub->count[state]); /* the rest are permits */
        else assert_int_equal(n, sub->count[state]);
    }
    for STAGE_EACH (l, &sub->open_seats) open--;
    assert_int_equal(open, 0);
    assert_int_equal(leases, sub->leases);
    assert_true(sub->lent_permits >= leases);
}

static inline void stage_count_requests(const struct kp__subpool *sub)
{
    uint32_t waiting = 0;

    for (int q = 0; q < KP__QUEUES; q++) {
        uint64_t stamp = 0;
        for STAGE_EACH (l, &sub->queue[q]) {
            const struct kp__request *r = KP__OF(l, const struct kp__request, link);
            assert_int_equal(r->queue, q);
            assert_true(r->stamp > stamp);
            assert_int_not_equal(atomic_load(&r->state), KP__ANSWERED);
            assert_int_equal(r->grant.kind, KP__GRANT_WAIT);
            stamp = r->stamp;
            waiting++;
        }
    }
    assert_int_equal(waiting, sub->waiting);
}

/* Who has an idle one above its minimum, and only that, can be asked to make room. */
static inline void stage_count_spare(const struct stage *s, const struct kp__subpool *sub)
{
    int64_t live = (int64_t)sub->count[KP__CREATING] + sub->count[KP__IDLE] + sub->count[KP__LENT];
    bool spare = s->core.evicts && sub->rules && sub->count[KP__IDLE] > 0 &&
                 live > sub->rules->min_live && live > sub->rules->floor;

    assert_int_equal(kp__heap_holds(&sub->evict[KP__IN_POOL]),
                     spare && s->core.live.cap < KP__UNBOUND);
    for (int g = 0; g < 2; g++)
        assert_int_equal(kp__heap_holds(&sub->evict[g + 1]), spare && sub->group[g]);
}

static inline int64_t stage_live(const struct kp__subpool *sub)
{
    return (int64_t)sub->count[KP__CREATING] + sub->count[KP__IDLE] + sub->count[KP__LENT] +
           sub->count[KP__CLOSING];
}

static inline void stage_count_groups(struct stage *s)
{
    for (int i = 0; i < STAGE_GROUPS; i++) {
        struct kp__group *group = &s->groups[i];
        int64_t used = 0;
        if (group->member == 0) continue;
        for STAGE_EACH (l, &s->core.all) {
            const struct kp__subpool *sub = KP__OF(l, const struct kp__subpool, all);
            if (sub->group[group->member - 1] == group) used += stage_live(sub);
            for STAGE_EACH (v, &sub->slots[KP__CLOSING])
                used += KP__OF(v, const struct kp__slot, link)->heirs[group->member - 1] == group;
        }
        assert_int_equal(group->budget.used, used);
    }
}

/* Somebody has been woken to take what is free (kp__heed), or to leave it to whoever is faster. */
static inline bool stage_invited(const struct stage *s)
{
    for STAGE_EACH (l, &s->core.all) {
        const struct kp__subpool *sub = KP__OF(l, const struct kp__subpool, all);
        for (int q = 0; q < KP__QUEUES; q++)
            for STAGE_EACH (w, &sub->queue[q])
                if (KP__OF(w, const struct kp__request, link)->invited) return true;
    }
    return false;
}

/* Could the first of those who may create be served right now? Then it must not be waiting. */
static inline bool stage_could_create(const struct stage *s, const struct kp__subpool *sub)
{
    const struct kp__rules *r = sub->rules;
    const struct kp__health *h = &sub->health;
    const struct kp__core *core = &s->core;

    if (!kp__queue_first(sub, KP__EITHER) && !kp__queue_first(sub, KP__FRESH)) return false;
    if (!core->can_create || h->tripped || s->now < h->back_off) return false;
    if (core->lent.used >= core->lent.cap || sub->lent_permits >= r->max_lent) return false;
    if (sub->count[KP__CREATING] + sub->promised >=
        (h->failures && r->retry_first ? 1 : r->max_creating))
        return false;
    if (core->creating.used >= core->creating.cap) return false;
    if (stage_live(sub) + sub->promised >= r->max_live) return false;
    if (core->live.used >= core->live.cap && core->live.evictable.count == 0) return false;
    for (int g = 0; g < 2; g++)
        if (sub->group[g] && sub->group[g]->budget.used >= sub->group[g]->budget.cap) return false;
    return true;
}

static inline bool stage_could_take(const struct stage *s, const struct kp__subpool *sub)
{
    if (sub->health.tripped) return false;
    if (!kp__queue_first(sub, KP__EITHER) && !kp__queue_first(sub, KP__TAKERS) &&
        !kp__queue_first(sub, KP__SPONSORS))
        return false;
    if (sub->count[KP__IDLE] == 0 && kp__list_empty(&sub->open_seats)) return false;
    if (kp__queue_first(sub, KP__SPONSORS)) return !sub->lacks; /* it has its lent permit */
    return sub->lent_permits < sub->rules->max_lent && s->core.lent.used < s->core.lent.cap &&
           !sub->lacks;
}

static inline void stage_check(struct stage *s)
{
    struct kp__core *core = &s->core;
    uint32_t count[KP__STATES] = { 0 }, leases = 0, waiting = 0, promised = 0, keys = 0;
    uint64_t starved = 0, spare = 0;
    int64_t lent = 0, live = 0;

    for STAGE_EACH (l, &core->all) {
        const struct kp__subpool *sub = KP__OF(l, const struct kp__subpool, all);
        stage_count_slots(s, sub);
        stage_count_requests(sub);
        stage_count_spare(s, sub);
        for (int state = KP__CREATING; state < KP__STATES; state++)
            count[state] += sub->count[state];
        leases += sub->leases;
        waiting += sub->waiting;
        promised += sub->promised;
        lent += sub->lent_permits;
        live += stage_live(sub);
        starved += sub->lacks != NULL;
        spare += kp__heap_holds(&sub->evict[KP__IN_POOL]);
        assert_int_equal(sub->lacks != NULL, kp__heap_holds(&sub->starved));
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
    assert_int_equal(core->key_count, keys);
    assert_int_equal(core->lent.used, lent);
    assert_int_equal(core->live.used, live);
    assert_int_equal(core->creating.used, (int64_t)count[KP__CREATING] + promised);
    assert_int_equal(core->live.evictable.count, spare);
    uint64_t heaps = core->live.starved.count + core->lent.starved.count +
                     core->creating.starved.count;
    for (int i = 0; i < STAGE_GROUPS; i++) heaps += s->groups[i].budget.starved.count;
    assert_int_equal(heaps, starved);
    stage_count_groups(s);
}

/* ---- what flow does around the core ---------------------------------------------------------- */

static inline struct kp__subpool *stage_key(struct stage *s)
{
    struct kp__group *none[2] = { NULL, NULL };
    struct kp__rules *old;

    stage_room(s);
    struct kp__subpool *sub = kp__table_make(&s->core, ++s->next_hash * 0x9e3779b97f4a7c15u);
    assert_non_null(sub);
    kp__table_rule(&s->core, sub, &s->rules, none, &old);
    assert_null(old);
    stage_check(s);
    return sub;
}

/* Other rules for a key, and its groups: numbers of s->groups, or -1. */
static inline void stage_rule(struct stage *s, struct kp__subpool *sub, struct kp__rules *rules,
                              int group0, int group1)
{
    struct kp__group *groups[2] = { group0 >= 0 ? &s->groups[group0] : NULL,
                                    group1 >= 0 ? &s->groups[group1] : NULL };
    struct kp__rules *old;

    kp__table_rule(&s->core, sub, rules, groups, &old);
    kp__settle(&s->core, sub, s->now, &s->todo);
    stage_check(s);
}

/* s->groups[i] becomes a group that counts in s->core.group_max_live[which]. */
static inline void stage_group(struct stage *s, int i, int which, int64_t cap)
{
    stage_room(s);
    s->core.group_max_live[which] = cap;
    kp__group_enter(&s->core, &s->groups[i], which, 100 + i);
}

/* A request as flow/get.c makes it. Returns the grant's kind. */
static inline enum kp__grant_kind stage_ask(struct stage *s, struct kp__subpool *sub,
                                            struct kp__request *r, uint32_t flags)
{
    static kp_why whys[32];
    static int next;

    *r = (struct kp__request){ .sub = sub, .flags = flags, .arrived = s->now,
                               .deadline = KP__NEVER, .tag = "tag", .site = sub,
                               .making_until = KP__NEVER, .why = &whys[next++ % 32] };
    *r->why = (kp_why){ 0 };
    kp__claim(&s->core, r, s->now, &s->todo);
    if (r->grant.kind != KP__GRANT_PERMIT) stage_check(s);
    return r->grant.kind;
}

/* A slot for a permit that was taken, creating. */
static inline struct kp__slot *stage_spend(struct stage *s, struct kp__subpool *sub)
{
    stage_room(s);
    struct kp__slot *slot = kp__slab_take(&s->core.slots), kept = *slot;
    uint32_t seats = (uint32_t)sub->rules->sharing;

    *slot = (struct kp__slot){ .item = kept.item, .generation = kept.generation, .seats = seats };
    assert_true(s->next_seat + seats - 1 <= sizeof s->seats / sizeof s->seats[0]);
    slot->more = &s->seats[s->next_seat];
    s->next_seat += seats - 1;
    kp__list_init(&slot->link);
    kp__list_init(&slot->open_seat);
    kp__list_init(&slot->work);
    kp__heap_node_init(&slot->due.node);
    slot->due.is_slot = true;
    kp__permit_spend(sub, slot);
    stage_check(s);
    return slot;
}

static inline void stage_fill(struct stage *s, struct kp__slot *slot)
{
    uint64_t age = slot->sub->rules->max_age;

    slot->resource = s->next_resource++;
    slot->born = s->now;
    slot->age_end = age < KP__NEVER - s->now ? s->now + age : KP__NEVER;
}

/* The creation of a slot succeeds, for the request that ran it or for NULL. */
static inline void stage_made(struct stage *s, struct kp__slot *slot, struct kp__request *r)
{
    stage_fill(s, slot);
    kp__created(&s->core, slot, r, s->now, &s->todo);
    stage_check(s);
}

static inline void stage_failed(struct stage *s, struct kp__slot *slot, struct kp__request *r,
                                int code)
{
    struct kp__failure what = { .code = code, .vendor_code = 7 };
    struct kp__failure *keep = calloc(1, sizeof *keep);

    strcpy(what.text, "no");
    kp__create_failed(&s->core, slot, r, &what, &keep, s->now, &s->todo);
    free(keep);
    stage_check(s);
}

/* Pending: the request joins the queue as the sponsor of its own creation. */
static inline void stage_pending(struct stage *s, struct kp__request *r, struct kp__slot *slot)
{
    slot->sponsor = r;
    r->making = slot;
    kp__wait_again(&s->core, r, s->now, &s->todo);
    stage_check(s);
}

/* Destroy what the to-do has, one at a time. Returns how many. */
static inline int stage_destroy(struct stage *s)
{
    struct kp__list *first;
    int n = 0;

    while ((first = kp__list_first(&s->todo.doomed)) != NULL) {
        struct kp__slot *slot = KP__OF(first, struct kp__slot, work);
        kp__list_remove(first);
        kp__gone(&s->core, slot, s->now, &s->todo);
        stage_check(s);
        n++;
    }
    return n;
}

/* The victim of a grant is destroyed. */
static inline void stage_victim_gone(struct stage *s, struct kp__request *r)
{
    struct kp__slot *victim = r->grant.victim;

    kp__victim_gone(&s->core, r->sub, victim, s->now, &s->todo);
    r->grant.victim = NULL;
    stage_check(s);
}

/* What a request was granted becomes a lease: its slot; creating it, if it is a permit. */
static inline struct kp__slot *stage_take(struct stage *s, struct kp__request *r)
{
    if (r->grant.kind == KP__GRANT_PERMIT) {
        if (r->grant.victim) stage_victim_gone(s, r);
        stage_made(s, stage_spend(s, r->sub), r);
    }
    assert_int_equal(r->grant.kind, KP__GRANT_SLOT);
    return r->grant.slot;
}

/* One that waits has been woken, and looks. */
static inline void stage_heed(struct stage *s, struct kp__request *r)
{
    kp__heed(&s->core, r, s->now, &s->todo);
    stage_check(s);
}

static inline struct kp__slot *stage_lend(struct stage *s, struct kp__subpool *sub)
{
    struct kp__request r;

    stage_ask(s, sub, &r, 0);
    return stage_take(s, &r);
}

static inline void stage_give(struct stage *s, struct kp__slot *slot, uint32_t seat, bool keep)
{
    kp__give(&s->core, slot, seat, keep, KP__BY_BORROWER, s->now, &s->todo);
    stage_check(s);
}

/* One that is idle; made for it. */
static inline struct kp__slot *stage_idle(struct stage *s, struct kp__subpool *sub)
{
    kp__permit_take(&s->core, sub);
    struct kp__slot *slot = stage_spend(s, sub);

    stage_made(s, slot, NULL);
    return slot;
}

/* The wake-ups so far happened; was this request's among them? */
static inline bool stage_woken(struct stage *s, struct kp__request *r)
{
    bool found = false;

    kp__todo_run_wakes(&s->todo);
    for (int i = 0; i < s->wakes; i++) found |= s->woken[i] == (uint32_t *)&r->state;
    s->wakes = 0;
    return found;
}

#define STAGE_NO(request, why_code, why_limit)                    \
    do {                                                          \
        assert_int_equal((request)->grant.kind, KP__GRANT_NO);    \
        assert_int_equal((request)->grant.code, why_code);        \
        assert_string_equal((request)->grant.limit, why_limit);   \
    } while (0)

#endif
