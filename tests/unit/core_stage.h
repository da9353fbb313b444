/* SPDX-License-Identifier: MIT
 *
 * A stage for tests of src/core alone: a core without a pool, whose clock, random numbers and
 * wake-ups are the test's; rules as the core has them, without options; and what flow does around
 * the core, in a few lines each. After every step the books are counted again (core_books.h).
 */
#ifndef KP_TESTS_CORE_STAGE_H
#define KP_TESTS_CORE_STAGE_H

#include "base_kit.h"

#include "base/check.h"
#include "base/mail.h"
#include "core/background.h"
#include "core/calendar.h"
#include "core/create.h"
#include "core/doubt.h"
#include "core/give.h"
#include "core/permit.h"
#include "core/resize.h"
#include "core/revoke.h"
#include "core/serve.h"
#include "core/table.h"
#include "core/todo.h"
#include "keyedpool/loop.h"

enum { STAGE_WAKES = 64, STAGE_GROUPS = 4 };

struct stage {
    struct kp__core core;
    struct kp__rules rules; /* of keys made by stage_key, unless it is given others */
    struct kp__world world;
    struct kp__todo todo;
    struct kp__group groups[STAGE_GROUPS], pairs[STAGE_GROUPS];
    int pair_count;
    uint64_t now, random; /* random: the world's next answer */
    bool uncounted;       /* too many keys to count the books at each step */
    uint32_t *woken[STAGE_WAKES];
    int wakes;
    char *next_resource;
    uint64_t next_hash;
    struct kp__seat seats[256]; /* of slots that are shared */
    uint32_t next_seat;
};

static char stage_resources[4096]; /* a resource is an address in it */

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
        .max_creating = KP__UNBOUND, .max_waiting = KP__UNBOUND, .lasting = KP__UNBOUND,
        .sharing = 1, .utilization_pct = 100, .breaker_failures = KP__UNBOUND, .weight = 1,
        .max_uses = KP__UNBOUND, .breaker_probes = 1,
        .idle_ttl = KP__NEVER, .excess_ttl = KP__NEVER, .max_age = KP__NEVER,
        .create_timeout = KP__NEVER, .shed_target = KP__NEVER, .reserve_after = KP__NEVER,
        .retry_max = KP__NEVER, .validate_every = KP__NEVER, .revoke_after = KP__NEVER,
        .reuse = true, .idle_lifo = true,
    };
}

static inline void stage_open(struct stage *s)
{
    struct kp__core *core = &s->core;
    const struct kp__allowance may = { .live = KP__UNBOUND,
                                       .lent = KP__UNBOUND,
                                       .idle = KP__UNBOUND,
                                       .creating = KP__UNBOUND,
                                       .waiting = KP__UNBOUND,
                                       .keys = KP__UNBOUND,
                                       .group = { KP__UNBOUND, KP__UNBOUND },
                                       .rate = KP__UNBOUND,
                                       .burst = KP__UNBOUND,
                                       .evicts = true };

    memset(s, 0, sizeof *s);
    kp__core_init(core, &may);
    s->now = 1000;
    s->next_resource = stage_resources;
    s->rules = stage_rules();
    s->world = (struct kp__world){ .random = stage_random, .wake = stage_wake, .ctx = s };
    core->world = &s->world;
    core->latest = s->now;
    core->can_create = true;
    core->leak_after = core->forget_after = KP__NEVER;
    core->rules = &s->rules;
    core->id = 7;
    core->quick_seed = 0x5eed;
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
    struct kp__slab *slabs[] = { &s->core.slots, &s->core.errands, &s->core.subpools };

    for (int i = 0; i < 3; i++) {
        s->core.errands.least = s->core.slots.room;
        size_t bytes = kp__slab_wants(slabs[i]);
        if (bytes == 0) continue;
        void *chunk = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
        assert_non_null(chunk);
        assert_null(kp__slab_extend(slabs[i], memset(chunk, 0xa5, bytes), bytes));
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
    kp__slab_fini(&s->core.errands, stage_free, NULL);
    kp__slab_fini(&s->core.subpools, stage_free, NULL);
}

#include "core_books.h"

/* Takes what is due first off the calendar; NULL: nothing is due. */
static inline struct kp__timer *stage_due(struct stage *s, uint64_t now)
{
    bool is_slot;

    return kp__due_pop(&s->core, now, &is_slot);
}

/* When a key is to be looked at; 0: it is not filed. */
static inline uint64_t stage_due_at(const struct stage *s, const struct kp__subpool *sub)
{
    const struct kp__key_due *part =
        kp__slab_part(&s->core.subpools, sub->item.index, KP__PART_DUE);

    return sub->has_due ? part->due.at : 0;
}

/* ---- what flow does around the core ---------------------------------------------------------- */

static inline struct kp__subpool *stage_key(struct stage *s)
{
    struct kp__group *none[KP__GROUPS_AND_PAIR] = { NULL };

    stage_room(s);
    struct kp__subpool *sub = kp__table_make(&s->core, ++s->next_hash * 0x9e3779b97f4a7c15u);
    assert_non_null(sub);
    kp__table_rule(&s->core, sub, &s->rules, none);
    stage_check(s);
    return sub;
}

static inline struct kp__group *stage_pair(struct stage *s, const struct kp__group *a,
                                           const struct kp__group *b)
{
    int64_t id = kp__pair_id(a, b);
    struct kp__group *pair = kp__group_find(&s->core, KP__PAIR, id);

    if (pair) return pair;
    assert_true(s->pair_count < STAGE_GROUPS);
    stage_room(s);
    pair = &s->pairs[s->pair_count++];
    kp__group_enter(&s->core, pair, KP__PAIR, id);
    return pair;
}

/* Sets other rules for a key, and its groups: numbers of s->groups, or -1. */
static inline void stage_rule(struct stage *s, struct kp__subpool *sub, struct kp__rules *rules,
                              int group0, int group1)
{
    struct kp__group *groups[KP__GROUPS_AND_PAIR] = { group0 >= 0 ? &s->groups[group0] : NULL,
                                             group1 >= 0 ? &s->groups[group1] : NULL };

    if (groups[0] && groups[1]) groups[KP__PAIR] = stage_pair(s, groups[0], groups[1]);
    kp__table_rule(&s->core, sub, rules, groups);
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

/* Asks as flow/get.c does. Returns the grant's kind. */
static inline enum kp__grant_kind stage_ask(struct stage *s, struct kp__subpool *sub,
                                            struct kp__request *r, uint32_t flags)
{
    static kp_why whys[32];
    static int next;

    *r = (struct kp__request){ .sub = sub, .flags = (uint8_t)flags, .arrived = s->now,
                               .deadline = KP__NEVER, .tag = "tag", .site = sub,
                               .why = &whys[next++ % 32] };
    *r->why = (kp_why){ 0 };
    kp__claim(&s->core, r, s->now, &s->todo);
    if (r->grant.kind != KP__GRANT_PERMIT) stage_check(s);
    return r->grant.kind;
}

/* What lies before a loop's request in its kp_request: the loop, which begins with its mailbox. */
struct stage_face {
    struct kp__mailbox *box;
    uint64_t rest[(offsetof(kp_request, opaque) - sizeof(void *)) / 8];
};

/* Makes it a request of an event loop, as if from the beginning. */
static inline void stage_on_loop(struct stage_face *face, struct kp__request *r,
                                 struct kp__mailbox *box)
{
    assert_ptr_equal(face + 1, r);
    *face = (struct stage_face){ .box = box };
    r->of_loop = true;
    r->pool = 1;
    r->alarm = (struct kp__timer){ .at = 0 };
}

/* A slot that is creating, for a permit that was taken. */
static inline struct kp__slot *stage_spend(struct stage *s, struct kp__subpool *sub)
{
    stage_room(s);
    struct kp__slot *slot = kp__slot_take(&s->core);
    struct kp__errand *errand = kp__errand(&s->core, slot);
    uint32_t seats = (uint32_t)sub->rules->sharing;

    errand->seats = seats;
    kp__list_init(&errand->open_seat);
    assert_true(s->next_seat + seats - 1 <= sizeof s->seats / sizeof s->seats[0]);
    errand->more = &s->seats[s->next_seat];
    s->next_seat += seats - 1;
    kp__permit_spend(sub, slot);
    assert_false(kp__list_linked(&slot->link)); /* I1 */
    stage_check(s);
    return slot;
}

/* Spends the permit of a request, as kp__create does. */
static inline struct kp__slot *stage_begin(struct stage *s, struct kp__request *r)
{
    struct kp__slot *slot = stage_spend(s, r->sub);

    kp__errand_of(slot)->probe = kp__probe_take(r);
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

/* The request joins the queue as the sponsor of what is under way for it; nobody is served. */
static inline void stage_sponsor(struct stage *s, struct kp__request *r, struct kp__slot *slot)
{
    kp__grant(r, KP__GRANT_WAIT, slot);
    kp__errand(&s->core, slot)->sponsor = r;
    kp__enqueue(&s->core, r);
}

/* The same for the request's own creation, which is pending; others are served meanwhile. */
static inline void stage_pending(struct stage *s, struct kp__request *r, struct kp__slot *slot)
{
    kp__wait_again(&s->core, r, slot, s->now, &s->todo);
    stage_check(s);
}

/* Destroy what the to-do has, one at a time. Returns how many. */
static inline int stage_destroy(struct stage *s)
{
    struct kp__list *first;
    int n = 0;

    while ((first = kp__list_first(&s->todo.doomed)) != NULL) {
        struct kp__slot *slot = KP__OF(first, struct kp__slot, link);
        kp__list_remove(first);
        if (slot->state == KP__RECLAIMED) kp__reclaimed(&s->core, slot);
        else if (kp__has_errand(slot) && slot->errand->victim.heir)
            kp__victim_gone_late(&s->core, slot, s->now, &s->todo);
        else kp__gone(&s->core, slot, s->now, &s->todo);
        stage_check(s);
        n++;
    }
    return n;
}

/* The victim of a grant is destroyed. */
static inline void stage_victim_gone(struct stage *s, struct kp__request *r)
{
    struct kp__slot *victim = r->slot;

    kp__victim_gone(&s->core, r->sub, victim, s->now, &s->todo);
    r->slot = NULL;
    stage_check(s);
}

/* Turns what a request was granted into a lease, creating the resource if it is a permit. Returns
 * the slot. */
static inline struct kp__slot *stage_take(struct stage *s, struct kp__request *r)
{
    if (r->grant.kind == KP__GRANT_PERMIT) {
        if (r->slot) stage_victim_gone(s, r);
        stage_made(s, stage_begin(s, r), r);
    }
    assert_int_equal(r->grant.kind, KP__GRANT_SLOT);
    return r->slot;
}

/* A request that waits has been woken, and looks. */
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
    kp__give(&s->core, slot, seat, keep ? KP_CAUSE_NONE : KP_CAUSE_DISCARDED, s->now, &s->todo);
    stage_check(s);
}

/* Makes an idle one. */
static inline struct kp__slot *stage_idle(struct stage *s, struct kp__subpool *sub)
{
    kp__permit_take(&s->core, sub);
    struct kp__slot *slot = stage_spend(s, sub);

    stage_made(s, slot, NULL);
    return slot;
}

/* Reports on a lease that is not a probe; returns what that did to the circuit. */
static inline enum kp__change stage_report(struct stage *s, struct kp__subpool *sub, bool ok)
{
    bool no_probe = false;

    return kp__outcome(&s->core, sub, KP_BREAK_USE, ok, &no_probe, s->now);
}

/* Forgets the wake-ups so far. Was this request's among them? */
static inline bool stage_woken(struct stage *s, struct kp__request *r)
{
    bool found = false;

    kp__todo_run_wakes(&s->todo);
    for (int i = 0; i < s->wakes; i++) found |= s->woken[i] == (uint32_t *)&r->state;
    s->wakes = 0;
    return found;
}

/* A test whose stage is opened and closed for it: `static void sentence(struct stage *s)`. */
struct stage_test {
    void (*play)(struct stage *s);
};

static inline void stage_play(void **state)
{
    struct stage s;

    stage_open(&s);
    ((const struct stage_test *)*state)->play(&s);
    stage_close(&s);
}

#define STAGE_TEST(f) { #f, stage_play, NULL, NULL, &(struct stage_test){ f } }

#define STAGE_NO(request, why_code, why_limit)                    \
    do {                                                          \
        assert_int_equal((request)->grant.kind, KP__GRANT_NO);    \
        assert_int_equal((request)->grant.code, why_code);        \
        assert_string_equal(kp__limit_name[(request)->limit], why_limit); \
    } while (0)

#endif
