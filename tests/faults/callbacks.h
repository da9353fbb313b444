/* SPDX-License-Identifier: MIT
 *
 * A life of a pool in which every function that a pool can call is called, and one of them also
 * does something else: calls back into the pool, closes it, blocks. callbacks.c has the matrix.
 */
#ifndef CALLBACKS_H
#define CALLBACKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

/* ---- keys of a type of their own, so that copy and drop have their turn ---------------------- */

struct name { char text[16]; };

#define K(text_) KP_KEY(&(struct name){ text_ })

/* ---- who calls ------------------------------------------------------------------------------- */

/* The kinds of event come after these, each a row of its own. */
enum where {
    IN_NOTHING, IN_CREATE, IN_VALIDATE, IN_RESET, IN_DESTROY, IN_CANCEL, IN_LIMITS, IN_COPY,
    IN_DROP, IN_TEXT, IN_EACH, IN_DONE, IN_FINALIZER, IN_USE, IN_RETRY, IN_LISTENER, IN_DROP_CTX,
    IN_REVOKE, IN_EVENT
};

#define X(name, sentence) "event " #name,
static const char *const wheres[] = {
    "nothing", "create", "validate", "reset", "destroy", "cancel", "limits_for", "key copy",
    "key drop", "key text", "kp_each_key", "done", "finalizer", "kp_use", "retry_if",
    "kp_on_misuse", "drop_ctx", "revoke", "event", KP_EVENT_MAP(X)
};
#undef X

enum { WHERES = sizeof wheres / sizeof wheres[0] };

static struct life {
    kp_sim *sim;
    kp_pool *pool;
    kp_loop *loop;
    enum where where;
    void (*act)(void);
    int depth, acted, times; /* times: how often it acts */
    void *resource;          /* what the callback is about, or NULL */
    int made, unmade, copied, dropped, ended; /* ended: drop_ctx */
    int fail_creates, fail_validates, fail_destroys, fail_copies, fail_resets, fail_revokes;
    bool pend;
    kp_job *pending;
    bool disturbed;          /* the life may get other answers than by itself */
    bool steals;             /* it ends leases of others, whose own end is then misuse */
    char wrong[100];         /* the first unexpected answer; kept, as a task may not assert */
    int answered;
} l;

static void act(enum where where, void *resource)
{
    if (l.where != where || l.depth > 0 || l.acted >= l.times) return;
    l.depth++;
    l.acted++;
    l.resource = resource;
    l.act();
    l.depth--;
}

static int made_here[64];

static int create(kp_job *job, void **out)
{
    act(IN_CREATE, NULL);
    if (l.fail_creates > 0 && l.depth == 0) return l.fail_creates--, kp_job_fail(job, 5, "refused");
    if (l.pend && l.depth == 0) {
        l.pending = job;
        return KP_PENDING;
    }
    *out = &made_here[l.made++ % 64];
    return 0;
}

static int validate(kp_job *job, void *resource)
{
    act(IN_VALIDATE, resource);
    return l.fail_validates > 0 && l.depth == 0 ? (l.fail_validates--, kp_job_fail(job, 6, "bad"))
                                                : 0;
}

static int reset(kp_job *job, void *resource)
{
    act(IN_RESET, resource);
    return l.fail_resets > 0 && l.depth == 0 ? (l.fail_resets--, kp_job_fail(job, 7, "dirty")) : 0;
}

static int destroy(kp_job *job, void *resource)
{
    act(IN_DESTROY, resource);
    if (resource >= (void *)made_here && resource < (void *)(made_here + 64)) l.unmade++;
    return l.fail_destroys > 0 && l.depth == 0 ? (l.fail_destroys--, kp_job_fail(job, 8, "stuck"))
                                               : 0;
}

static int revoke(kp_job *job, void *resource)
{
    act(IN_REVOKE, resource);
    return l.fail_revokes > 0 && l.depth == 0 ? (l.fail_revokes--, kp_job_fail(job, 9, "no")) : 0;
}

static void hurry(kp_job *job)
{
    act(IN_CANCEL, NULL);
    (void)job;
}

static void drop_ctx(void *ctx)
{
    (void)ctx;
    l.ended++;
    act(IN_DROP_CTX, NULL);
}

static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    act(IN_LIMITS, NULL);
    if (((const struct name *)key.data)->text[0] == '1') limits->max_live = 1;
    if (((const struct name *)key.data)->text[0] == 't') limits->revoke_after_ms = 100;
}

static void on_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    act((enum where)(IN_EVENT + (int)event->kind), (void *)(uintptr_t)event->resource);
}

static uint64_t hash_name(const void *key, uint64_t seed, void *ctx)
{
    uint64_t h = seed;

    (void)ctx;
    for (const char *c = ((const struct name *)key)->text; *c; c++)
        h = (h ^ (uint64_t)(unsigned char)*c) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

static bool same_name(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return !strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static int copy_name(const void *from, void *to, void *ctx)
{
    (void)ctx;
    act(IN_COPY, NULL);
    if (l.fail_copies > 0 && l.depth == 0) return l.fail_copies--, -77;
    memcpy(to, from, sizeof(struct name));
    l.copied++;
    return 0;
}

static void drop_name(void *copied, void *ctx)
{
    (void)copied, (void)ctx;
    l.dropped++;
    act(IN_DROP, NULL);
}

static size_t text_of(const void *key, char *buf, size_t size, void *ctx)
{
    (void)ctx;
    act(IN_TEXT, NULL);
    return (size_t)snprintf(buf, size, "%s", ((const struct name *)key)->text);
}

static int each(kp_key key, const kp_stats *stats, void *arg)
{
    (void)key, (void)stats, (void)arg;
    act(IN_EACH, NULL);
    return 0;
}

static void done(kp_request *request, int status, kp_lease lease)
{
    (void)request;
    l.answered = status <= 0 ? 1 : -1;
    act(IN_DONE, lease.resource);
    kp_release(&lease);
}

static void finalize(void *arg)
{
    (void)arg;
    act(IN_FINALIZER, NULL);
}

static int use(kp_lease *lease, void *arg)
{
    act(IN_USE, lease->resource);
    return (*(int *)arg)++ == 0 ? -3 : 0; /* the first time it fails */
}

static bool retry(int status, void *arg)
{
    (void)arg;
    act(IN_RETRY, NULL);
    return status == -3;
}

static void listen(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
    act(IN_LISTENER, NULL);
}

/* ---- the life -------------------------------------------------------------------------------- */

static void pass(int64_t ms)
{
    kp_sim_pass_ms(l.sim, ms);
    (void)kp_keep(l.pool);
}

/* Checks what a call answered: `rc`, or, if the life is disturbed, another code that may be. */
static void expect_at(int64_t found, int64_t rc, int line)
{
    if (found == rc) return;
    if (l.disturbed && (found == 0 || found == -3 || (found <= -7000 && found >= -7020))) return;
    if (l.wrong[0]) return;
    snprintf(l.wrong, sizeof l.wrong, "line %d: %lld, not %lld", line, (long long)found,
             (long long)rc);
}

#define expect(found, rc) expect_at((found), (rc), __LINE__)

static void get(const char *key, int64_t within_ms, int rc, kp_lease *lease)
{
    struct name name = { "" };

    snprintf(name.text, sizeof name.text, "%s", key);
    expect(kp_get(l.pool, KP_KEY(&name), KP_ASK(.within_ms = within_ms), lease), rc);
}

static void come_and_go(void)
{
    kp_lease lease;

    get("a", 100, 0, &lease); /* limits_for, copy, create */
    kp_release(&lease);       /* reset */
    pass(10);
    get("a", 100, 0, &lease); /* validate */
    kp_discard(&lease);       /* destroy */
    get("a", 100, 0, &lease);
    kp_release(&lease);
    l.fail_validates = 1;
    pass(10);
    get("a", 100, 0, &lease); /* INVALID */
    l.fail_validates = 0;
    l.fail_destroys = 1;
    kp_discard(&lease); /* DESTROY_FAILED */
    l.fail_destroys = 0;
}

static void lose_a_peer(void)
{
    kp_lease lease, other;

    get("a", 100, 0, &lease);
    get("a", 100, 0, &other);
    kp_release(&other);
    if (lease.resource) kp_lease_report(&lease, KP_EGONE); /* SUSPECT */
    kp_release(&lease);
    pass(10);
}

static void wait_in_vain(void)
{
    kp_lease lease, none;

    get("1", 100, 0, &lease);
    get("1", 10, KP_ETIMEDOUT, &none); /* DEADLOCK, TIMEOUT */
    kp_release(&none);
    kp_release(&lease);
    l.pend = true;
    get("late", 10, KP_ETIMEDOUT, &none); /* cancel */
    kp_release(&none);
    l.pend = false;
    if (l.pending) kp_job_done(l.pending, 0, &made_here[l.made++ % 64]);
    l.pending = NULL;
}

static void break_the_circuit(void)
{
    kp_lease lease;

    l.fail_creates = 1;
    get("broken", 100, KP_ECREATE, &lease); /* CREATE_FAILED, BREAKER_OPENED */
    kp_release(&lease);
    l.fail_creates = 0;
    get("broken", 100, KP_EBREAKER, &lease);
    kp_release(&lease);
    pass(1000);
    get("broken", 100, 0, &lease); /* BREAKER_PROBING, BREAKER_CLOSED */
    kp_release(&lease);
}

static void hold_for_too_long(void)
{
    kp_lease lease;

    for (int i = 0; i < 2; i++) {
        get("taken", 100, 0, &lease);
        l.fail_revokes = i;
        pass(200); /* REVOKED, REVOKE_FAILED */
        kp_release(&lease);
    }
    l.fail_revokes = 0;
}

static void look_around(void)
{
    kp_scope scope = { 0 };
    kp_lease lease;
    char text[400];
    int runs = 0;
    const kp_plan plan = { .ask = { .within_ms = 500 }, .schedule = { .times = 2, .first_ms = 1 },
                           .retry_if = retry };

    expect(kp_each_key(l.pool, each, NULL), 0);
    (void)kp_explain(l.pool, KP_EVERY_KEY, text, sizeof text);
    (void)kp_key_text(l.pool, K("a"), text, sizeof text);
    expect(kp_scope_defer(&scope, finalize, NULL), 0);
    expect(kp_scope_get(&scope, l.pool, K("a"), NULL, &lease), 0);
    kp_scope_close(&scope);
    expect(kp_use(l.pool, K("a"), &plan, use, &runs), 0);
}

static void ask_by_loop(void)
{
    kp_request request = { .loop = l.loop, .done = done };

    l.answered = 0;
    int rc = kp_get_start(l.pool, K("a"), NULL, &request);
    expect(rc, 0);
    for (int i = 0; rc == 0 && !l.answered && i < 100; i++) {
        (void)kp_loop_dispatch(l.loop);
        if (!l.answered) pass(1);
    }
    if (rc == 0) expect(l.answered, 1);
}

static void misuse_it(void)
{
    kp_lease lease, copy;

    get("a", 100, 0, &lease);
    copy = lease;
    kp_release(&lease);
    if (copy.resource) kp_release(&copy); /* MISUSE */
    kp_on_misuse(listen, NULL);
    copy = (kp_lease){ NULL, { 1, 1, 1 } };
    kp_release(&copy); /* of no pool at all */
    kp_on_misuse(NULL, NULL);
}

static void grow_old(void)
{
    kp_lease lease;

    get("leak", 100, 0, &lease);
    pass(6000); /* LEAK; idle ones expire; keys are forgotten */
    pass(6000); /* KEY_FORGOTTEN, drop */
    kp_release(&lease);
    pass(1000);
    kp_sim_pass_ms(l.sim, 60000); /* nobody keeps it */
    get("a", 100, 0, &lease);     /* KEEPER_LATE */
    kp_release(&lease);
}

static void live(void)
{
    expect(kp_loop_open(&l.loop), 0);
    come_and_go();
    lose_a_peer();
    wait_in_vain();
    break_the_circuit();
    hold_for_too_long();
    look_around();
    ask_by_loop();
    misuse_it();
    grow_old();
    expect(kp_loop_close(l.loop), 0);
    l.loop = NULL;
}

static void be_born(enum where where, void (*what)(void), int times, bool disturbed)
{
    kp_options options = {
        .driver = { .create = create, .destroy = destroy, .validate = validate, .reset = reset,
                    .cancel = hurry, .drop_ctx = drop_ctx, .flags = KP_NEVER_BLOCKS,
                    .revoke = revoke },
        .limits = { .max_live = 4, .validate_after_ms = KP_NONE, .retry_first_ms = KP_NONE,
                    .breaker_failures = 1, .breaker_open_ms = 500, .idle_ttl_ms = 2000 },
        .limits_for = limits_for, .on_event = on_event,
        .key_type = { .size = sizeof(struct name), .hash = hash_name, .equal = same_name,
                      .copy = copy_name, .drop = drop_name, .text = text_of },
        .forget_key_after_ms = 3000, .leak_after_ms = 5000, .threads = KP_NONE,
        .on_deadlock = KP_DEADLOCK_REPORT,
    };

    l = (struct life){ .where = where, .act = what, .times = times, .disturbed = disturbed };
    assert_int_equal(kp_sim_open(1, &l.sim), 0);
    options.world = kp_sim_world(l.sim);
    assert_int_equal(kp_pool_open(&options, &l.pool), 0);
}

/* Everything has come back; after the close all that was made is gone. */
static void die(void)
{
    kp_stats s;

    if (kp_stats_read(l.pool, KP_EVERY_KEY, &s) == 0) {
        assert_int_equal(s.live, s.creating + s.idle + s.lent + s.closing);
        assert_int_equal(s.lent + s.creating + s.closing + s.waiting + s.leases, 0);
        assert_int_equal(s.live, s.creates - s.destroys);
        assert_true(s.misuses == 1 || (l.steals && s.misuses > 1));
    }
    assert_int_equal(kp_pool_close(l.pool, KP_CLOSE_WAIT, 1000), 0);
    assert_string_equal(l.wrong, "");
    assert_int_equal(l.made, l.unmade);
    assert_int_equal(l.copied, l.dropped);
    assert_int_equal(l.ended, 1);
    kp_sim_join(l.sim, 0);
    assert_int_equal(kp_sim_close(l.sim), 0);
}

#endif
