/* SPDX-License-Identifier: MIT
 *
 * A pool in words (kp_explain): how its keys stand, who holds and who waits. What is said of a key
 * is copied with the lock and written without it, as the user's key_type.text may be called.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"
#include "flow/key.h"
#include "flow/stats.h"

struct text {
    char *buf;
    size_t size, length;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
add(struct text *t, const char *format, ...)
{
    va_list args;
    size_t left = t->length < t->size ? t->size - t->length : 0;

    va_start(args, format);
    int n = vsnprintf(left ? t->buf + t->length : NULL, left, format, args);
    va_end(args);
    t->length += (size_t)n; /* no encoding can fail: n is not negative */
}

static void add_counts(struct text *t, const kp_stats *s, int64_t max)
{
    add(t, "live %" PRIu64, s->live);
    if (max != KP__UNBOUND) add(t, " of %" PRId64, max);
    add(t,
        " (creating %" PRIu64 ", idle %" PRIu64 ", lent %" PRIu64 ", closing %" PRIu64
        "), waiting %" PRIu64,
        s->creating, s->idle, s->lent, s->closing, s->waiting);
    if (s->revoked) add(t, ", revoked %" PRIu64, s->revoked);
}

/* ---- of a key -------------------------------------------------------------------------------- */

enum { SHOWN = 8 }; /* holders, and as many who wait */

struct snapshot {
    kp_stats stats;
    int64_t max_live;
    struct holder {
        const char *tag;
        const void *site, *frame[KP__FRAMES];
        size_t frames;
        uint64_t since;
        uint32_t thread;
        bool revoked;
    } holder[SHOWN];
    int holders;
    struct {
        const char *tag, *limit;
        uint64_t arrived;
    } waiter[SHOWN];
    int waiters;
    uint64_t now, back_off;
    bool refused, failed, tripped;
    uint32_t doubts, tests;
    struct kp__circuit circuit;
    uint32_t old, ageing;
    const char *churns_by;
    char cause[200];
};

/* The limit on idle ones that is too small for how many are lent at once; NULL: there is none. The
 * sign: the resources destroyed as surplus are at least an eighth of the gets; a few in all are no
 * sign. Without such a limit they went for another reason (kp_evict, limits.reserve). */
static const char *churns_by(const struct kp__core *core, const struct kp__subpool *sub,
                             const kp_stats *s)
{
    enum { A_FEW = 16, ONE_IN = 8 };

    if (s->surplus < A_FEW || s->surplus < s->gets / ONE_IN) return NULL;
    if (sub->rules->max_idle < sub->rules->max_live) return "max_idle";
    return core->max_idle < core->live.cap ? "budget.max_idle" : NULL;
}

/* How this key's creations have gone. */
static void snap_health(const struct kp__health *h, struct snapshot *s)
{
    const struct kp__failure *last = h->last;

    s->refused = h->refused;
    s->failed = h->failures > 0;
    s->back_off = h->back_off;
    s->tripped = h->tripped;
    s->circuit = *h->circuit;
    if (last) snprintf(s->cause, sizeof s->cause, "%s", kp__failure_text(last));
}

/* How many resources there are from before the latest kp_rotate. */
static uint32_t count_old(const struct kp__subpool *sub)
{
    uint32_t old = 0;

    for (int i = 0; i < KP__HOLDINGS; i++) {
        const struct kp__slot *slot = NULL;
        while ((slot = kp__next_slot(kp__holding(sub, i), slot)) != NULL) old += slot->old;
    }
    return old;
}

static void snap_holder(const struct kp__slot *slot, const struct kp__seat *seat, struct holder *h)
{
    *h = (struct holder){ .tag = kp__seat_tag(slot, seat),
                          .site = kp__seat_site(slot, seat),
                          .since = seat->since,
                          .thread = seat->thread_id,
                          .revoked = slot->state == KP__REVOKED };
    h->frames = kp__trace_of(slot, seat, h->frame);
}

/* Who holds the slots on this list. */
static void snap_holders(const struct kp__list *list, struct snapshot *s)
{
    const struct kp__slot *slot = NULL;

    while (s->holders < SHOWN && (slot = kp__next_slot(list, slot)) != NULL)
        for (uint32_t i = 0; i < slot->errand->seats && s->holders < SHOWN; i++)
            if (kp__seat_at(slot, i)->lent)
                snap_holder(slot, kp__seat_at(slot, i), &s->holder[s->holders++]);
}

static void snap(struct kp__pool *pool, struct kp__subpool *sub, struct snapshot *s)
{
    struct kp__list *node;

    s->stats = kp__stats_of(sub);
    s->max_live = sub->rules ? sub->rules->max_live : 0;
    s->now = kp__time(pool);
    snap_health(&sub->rare->health, s);
    s->doubts = sub->rare->doubts;
    s->tests = sub->rare->tests;
    s->old = count_old(sub);
    s->churns_by = churns_by(&pool->core, sub, &s->stats);
    s->ageing = sub->rare->renewal.ageing;
    snap_holders(&sub->rare->taken, s);
    snap_holders(KP__SLOTS(sub, KP__LENT), s);
    for (int q = 0; q < KP__QUEUES; q++) {
        for (node = kp__list_first(&sub->rare->queue[q]); node && s->waiters < SHOWN;
             node = kp__list_next(&sub->rare->queue[q], node)) {
            const struct kp__request *r = KP__OF(node, struct kp__request, link);
            s->waiter[s->waiters].tag = r->tag;
            s->waiter[s->waiters].limit = kp__limit_name[r->limit];
            s->waiter[s->waiters++].arrived = r->arrived;
        }
    }
}

static void write_health(struct text *t, const struct snapshot *s)
{
    if (s->refused) add(t, "\n  refused until kp_retry_now: %s", s->cause);
    else if (s->failed && !s->tripped && s->back_off > s->now) /* probes do not wait for a pause */
        add(t, "\n  down for %" PRId64 " ms more: %s", kp__ms_up(s->back_off - s->now), s->cause);
    else if (s->failed)
        add(t, "\n  its latest create failed: %s", s->cause);
    if (s->doubts > 0) add(t, "\n  suspect: %" PRIu32 " in doubt, as a peer is gone", s->doubts);
    if (s->tests > 0) add(t, "\n  being validated by the keeper: %" PRIu32, s->tests);
}

static void write_circuit(struct text *t, const struct snapshot *s)
{
    const struct kp__circuit *c = &s->circuit;

    if (!s->tripped) return;
    add(t, "\n  circuit ");
    if (c->probing)
        add(t, "half-open: %" PRIu32 " probes under way, %" PRIu32 " in a row succeeded", c->probes,
            c->passed);
    else if (c->until == KP__NEVER)
        add(t, "open until kp_retry_now");
    else
        add(t, "open for %" PRId64 " ms more",
            c->until > s->now ? kp__ms_up(c->until - s->now) : 0);
    add(t, " (%s)%s", kp__limit_name[c->limit], kp__circuit_use(c).text);
}

static void write_holder(struct text *t, const struct holder *h, uint64_t now)
{
    add(t, "\n  %s for %" PRId64 " ms to %s", h->revoked ? "revoked, and lent" : "lent",
        kp__ms_since(h->since, now), h->tag ? h->tag : "(no tag)");
    if (h->thread) add(t, ", thread %" PRIu32, h->thread);
    add(t, ", got at %p", h->site);
    for (size_t i = 0; i < h->frames; i++) add(t, "%s%p", i ? " " : ", by ", h->frame[i]);
}

static void write_key(struct text *t, const char *name, const struct snapshot *s)
{
    add(t, "%s: ", name);
    add_counts(t, &s->stats, s->max_live);
    write_health(t, s);
    if (s->old) add(t, "\n  %" PRIu32 " from before kp_rotate", s->old);
    if (s->ageing) add(t, "\n  %" PRIu32 " to be replaced", s->ageing);
    if (s->churns_by)
        add(t, "\n  churns: %" PRIu64 " of %" PRIu64 " made were destroyed as surplus (%s)",
            s->stats.surplus, s->stats.creates, s->churns_by);
    write_circuit(t, s);
    for (int i = 0; i < s->holders; i++) write_holder(t, &s->holder[i], s->now);
    for (int i = 0; i < s->waiters; i++)
        add(t, "\n  waiting for %" PRId64 " ms: %s, limited by %s",
            kp__ms_since(s->waiter[i].arrived, s->now),
            s->waiter[i].tag ? s->waiter[i].tag : "(no tag)",
            s->waiter[i].limit);
    add(t, "\n");
}

static void explain_key(struct kp__pool *pool, struct kp__subpool *sub, struct text *t,
                        struct kp__todo *todo)
{
    struct snapshot s = { .holders = 0 };
    char name[96];

    snap(pool, sub, &s);
    kp__step_out(pool, todo);
    kp__key_print(&pool->key_type, kp__key_of(pool, sub), name, sizeof name);
    write_key(t, name, &s);
    kp__step_in(pool);
}

/* ---- of a pool ------------------------------------------------------------------------------- */

enum { KEYS_SHOWN = 32 };

static void explain_pool(struct kp__pool *pool, struct text *t)
{
    kp__shut_all(pool);
    kp_stats s = kp__stats_of_all(&pool->core);
    uint64_t now = kp__time(pool);

    add(t, "pool %s: %" PRIu64 " keys, ", pool->name ? pool->name : "(no name)", s.keys);
    add_counts(t, &s, pool->core.live.cap);
    if (pool->core.lent.cap != KP__UNBOUND)
        add(t, ", leases %" PRIu64 " of %" PRId64, s.leases, pool->core.lent.cap);
    if (pool->core.live.cap == KP__UNBOUND && pool->core.lent.cap == KP__UNBOUND)
        add(t, "; no budget over all keys (budget.max_live)");
    if (kp__token_lacks(&pool->core.rate, now))
        add(t, "; no creation token for %" PRId64 " ms (budget.create_rate)",
            kp__ms_up(kp__token_at(&pool->core.rate, now) - now));
    add(t, "\n");
}

static bool is_worth_a_word(const struct kp__core *core, const struct kp__subpool *sub)
{
    const struct kp__health *h = &sub->rare->health;
    kp_stats s = kp__stats_of(sub);

    return s.waiting || s.leases || s.revoked || h->refused || h->failures || h->tripped ||
           sub->rare->doubts || churns_by(core, sub, &s);
}

size_t kp_explain(kp_pool *door, kp_key key, char *buf, size_t size)
{
    struct text t = { buf, buf ? size : 0, 0 };
    struct kp__todo todo;
    struct kp__subpool *sub;
    int code, shown = 0;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (t.size) buf[0] = 0;
    if (!pool) {
        add(&t, "%s\n", kp_strerror(code));
        return t.length;
    }
    if (pool->core.phase != KP__OPEN) add(&t, "%s\n", kp_strerror(KP_ECLOSED));
    if (kp__is_every_key(key)) {
        explain_pool(pool, &t);
        for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub))
            if (is_worth_a_word(&pool->core, sub) && shown++ < KEYS_SHOWN)
                explain_key(pool, sub, &t, &todo);
    } else if ((sub = kp__known(pool, key)) != NULL) {
        kp__take_interest(pool, sub);
        explain_key(pool, sub, &t, &todo);
        kp__lose_interest(pool, sub, sub->used_at);
    } else {
        add(&t, "this pool has no such key\n");
    }
    kp__leave(pool, &todo);
    return t.length;
}

/* ---- a key's name ---------------------------------------------------------------------------- */

size_t kp_key_text(kp_pool *door, kp_key key, char *buf, size_t size)
{
    static const kp_key_type bytes;
    struct kp__todo todo;
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);
    size_t length;

    if (!buf) size = 0;
    if (!pool) return kp__key_print(&bytes, key, buf, size);
    struct kp__subpool *sub = kp__is_pinned(key) ? kp__known(pool, key) : NULL;
    if (sub) {
        kp__take_interest(pool, sub);
        key = kp__key_of(pool, sub);
    }
    kp__step_out(pool, &todo);
    length = kp__key_print(&pool->key_type, key, buf, size);
    kp__step_in(pool);
    if (sub) kp__lose_interest(pool, sub, sub->used_at);
    kp__leave(pool, &todo);
    return length;
}
