/* SPDX-License-Identifier: MIT
 *
 * Snapshots of the counters, and a walk over the keys. The same in words: explain.c.
 */
#include "flow/stats.h"

#include <string.h>

#include "base/cancel.h"
#include "flow/door.h"
#include "flow/event.h"
#include "flow/find.h"

static void tally_to(const struct kp__tally *t, const struct kp__seldom *seldom, kp_stats *s)
{
    s->gets = t->gets;
    s->hits = t->hits;
    s->waits = seldom->waits;
    s->timeouts = seldom->timeouts;
    s->refusals = seldom->refusals;
    s->creates = t->creates;
    s->create_failures = seldom->create_failures;
    s->destroys = t->destroys;
    s->destroy_failures = seldom->destroy_failures;
    s->invalid = seldom->invalid;
    s->invalidated = seldom->invalidated;
    s->expired = seldom->expired;
    s->evicted = seldom->evicted;
    s->leaks = seldom->leaks;
    s->renewed = seldom->renewed;
    s->wait_ns = seldom->wait_ns;
    s->held_ns = t->held_ns;
    s->create_ns = t->create_ns;
    s->revokes = seldom->revokes;
    s->revoke_failures = seldom->revoke_failures;
    s->surplus = seldom->surplus;
}

static void counts_to(const uint32_t count[KP__STATES], uint32_t tests, uint32_t leases,
                      uint32_t waiting, kp_stats *s)
{
    s->testing = tests;
    s->creating = count[KP__CREATING];
    s->idle = count[KP__IDLE];
    s->lent = count[KP__LENT];
    s->closing = count[KP__CLOSING];
    s->live = s->creating + s->idle + s->lent + s->closing;
    s->leases = leases;
    s->waiting = waiting;
}

kp_stats kp__stats_of(const struct kp__subpool *sub)
{
    kp_stats s = { .keys = 1 };

    counts_to(sub->count, sub->rare->tests, sub->leases, sub->waiting, &s);
    tally_to(&sub->tally, &sub->rare->seldom, &s);
    s.keys_made = 1;
    s.circuits_open = sub->rare->health.tripped;
    s.circuits_probing = sub->rare->health.circuit->probing;
    s.revoked = sub->rare->revoked;
    return s;
}

kp_stats kp__stats_of_all(const struct kp__core *core)
{
    kp_stats s = { .keys = core->key_count };

    counts_to(core->count, core->tests, core->leases, core->waiting, &s);
    tally_to(&core->tally, &core->seldom, &s);
    s.misuses = core->misuses;
    s.revoked = core->revoked;
    s.keys_made = core->keys_made;
    s.keys_forgotten = core->keys_forgotten;
    s.circuits_open = core->tripped;
    s.circuits_probing = core->probing;
    return s;
}

static void copy_out(const kp_stats *s, kp_stats *out, size_t size)
{
    memset(out, 0, size);
    memcpy(out, s, size < sizeof *s ? size : sizeof *s);
}

int kp_stats_read_sized(kp_pool *door, kp_key key, kp_stats *out, size_t size)
{
    struct kp__todo todo;
    kp_stats s = { 0 };
    int code;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (out) memset(out, 0, size);
    if (!pool) return kp__no_pool(code, NULL, "kp_stats_read: pool is NULL");
    if (!out) {
        code = kp__misuse_within(pool, &todo, NULL, "kp_stats_read: out is NULL");
    } else if (kp__is_every_key(key)) {
        kp__shut_all(pool);
        s = kp__stats_of_all(&pool->core);
    } else if ((code = kp__check_key(pool, key, NULL, &todo)) == 0) {
        struct kp__subpool *sub = kp__find(pool, key);
        if (sub) {
            s = kp__stats_of(sub);
            kp__lose_interest(pool, sub, sub->used_at);
        } else {
            code = KP_ENOTFOUND;
        }
    }
    if (out) copy_out(&s, out, size);
    kp__leave(pool, &todo);
    return code;
}

int kp_each_key_sized(kp_pool *door, int (*fn)(kp_key key, const kp_stats *stats, void *arg),
                      void *arg, size_t size)
{
    struct kp__todo todo;
    struct kp__subpool *sub;
    struct { kp_stats known; uint64_t later[64]; } s = { 0 }; /* for a caller's newer header */
    int code, stop = 0;
    struct kp__pool *pool = kp__enter(door, &todo, &code);

    if (!pool) return kp__no_pool(code, NULL, "kp_each_key: pool is NULL");
    if (!fn) stop = kp__misuse_within(pool, &todo, NULL, "kp_each_key: fn is NULL");
    else if (size > sizeof s)
        stop = kp__misuse_within(pool, &todo, NULL, "kp_each_key: size is not that of a kp_stats");
    for (sub = kp__next_key(pool, NULL); sub; sub = kp__next_key(pool, sub)) {
        s.known = kp__stats_of(sub);
        if (stop != 0) continue; /* walk to the end: that gives up the interest in each key */
        kp__step_out(pool, &todo);
        int cancel = kp__cancel_hold();
        stop = fn(kp__key_of(pool, sub), &s.known, arg);
        kp__cancel_free(cancel);
        kp__step_in(pool);
    }
    kp__leave(pool, &todo);
    return stop;
}
