/* SPDX-License-Identifier: MIT
 *
 * What every contract test shares: a virtual world with a scripted driver and one pool in it
 * (contract), the laws that are checked after each step (contract_check, contract_rest), tasks that
 * get, hold and give back (getter), and an end that asserts that nothing leaked. Each file of this
 * folder is a program of its own; none of them sleeps.
 *
 *     contract c;
 *     contract_begin(&c, "effect-fixed %d", 10);   a world, and a preset (NULL: the defaults)
 *     c.script.create = lines;                     what the driver does; c.options may be edited
 *     contract_open(&c);
 *     ... contract_take, contract_give, contract_start, contract_rest ...
 *     contract_end(&c);                            closes; asserts that nothing is left
 *
 * A cmocka assertion must run on the thread of the test. Other tasks only write down what they see
 * broken (contract_watch); the next check on the test's thread fails with it.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

enum { CONTRACT_SEED = 20, CONTRACT_EVENTS = 32 };

#define CONTRACT_HELPER static inline KP_MAYBE_UNUSED

typedef struct contract {
    kp_sim *sim;
    kp_cast *cast;
    kp_pool *pool; /* NULL before contract_open and after the test closed it with contract_close */
    kp_script script;
    kp_options options;
    kp_why why;       /* of a refused open */
    int64_t sharing;  /* how many may use one resource at once; 1 unless the options say more */
    uint64_t turns;   /* answers given to getters so far */
    uint64_t misuses; /* how many the test expects; contract_end compares */
    uint64_t events[CONTRACT_EVENTS];
    int last_failure; /* vendor code of the last CREATE_FAILED event */
    char broken[200]; /* the first broken law; "" while all hold */
} contract;

/* ---- the laws -------------------------------------------------------------------------------- */

CONTRACT_HELPER void contract_broken(contract *c, const char *format, ...)
{
    va_list args;
    if (c->broken[0]) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(c->broken, sizeof c->broken, format, args);
    va_end(args);
}

CONTRACT_HELPER void contract__conserved(contract *c, const char *whose, const kp_stats *s)
{
    if (s->live != s->creating + s->idle + s->lent + s->closing) {
        contract_broken(
            c, "L2: %s: live %llu, but creating %llu + idle %llu + lent %llu + closing %llu", whose,
            (unsigned long long)s->live, (unsigned long long)s->creating,
            (unsigned long long)s->idle, (unsigned long long)s->lent,
            (unsigned long long)s->closing);
    }
    if (s->leases < s->lent || s->leases > s->lent * (uint64_t)c->sharing) {
        contract_broken(c, "L5: %s: %llu leases on %llu resources, sharing %lld", whose,
                        (unsigned long long)s->leases, (unsigned long long)s->lent,
                        (long long)c->sharing);
    }
}

typedef struct contract__sum {
    contract *c;
    kp_stats all;
} contract__sum;

/* L2 for one key, and its part in the sum over all keys. */
CONTRACT_HELPER int contract__each(kp_key key, const kp_stats *s, void *arg)
{
    contract__sum *sum = arg;
    const kp_limits *limits = &sum->c->options.limits;
    char name[64];
    (void)kp_key_text(sum->c->pool, key, name, sizeof name);
    contract__conserved(sum->c, name, s);
    if (!sum->c->options.limits_for && limits->max_live > 0 &&
        s->live > (uint64_t)limits->max_live) {
        contract_broken(sum->c, "L2: %s: live %llu is above max_live %lld", name,
                        (unsigned long long)s->live, (long long)limits->max_live);
    }
    sum->all.live += s->live;
    sum->all.creating += s->creating;
    sum->all.idle += s->idle;
    sum->all.lent += s->lent;
    sum->all.closing += s->closing;
    sum->all.leases += s->leases;
    sum->all.waiting += s->waiting;
    sum->all.circuits_open += s->circuits_open;
    sum->all.circuits_probing += s->circuits_probing;
    return 0;
}

/* L2 for every key, for the whole pool, and for the sum of the keys. Any task may call it; in a
 * closed pool there is nothing to check. */
CONTRACT_HELPER void contract_watch(contract *c)
{
    contract__sum sum = { .c = c };
    kp_stats all;
    const kp_budget *budget = &c->options.budget;
    if (!c->pool || kp_each_key(c->pool, contract__each, &sum) != 0 ||
        kp_stats_read(c->pool, KP_EVERY_KEY, &all) != 0) {
        return;
    }
    contract__conserved(c, "the pool", &all);
    if (all.live != sum.all.live || all.idle != sum.all.idle || all.lent != sum.all.lent ||
        all.creating != sum.all.creating || all.closing != sum.all.closing ||
        all.leases != sum.all.leases || all.waiting != sum.all.waiting ||
        all.circuits_open != sum.all.circuits_open ||
        all.circuits_probing != sum.all.circuits_probing) {
        contract_broken(c, "L2: the sum over the keys (live %llu) is not the pool's (live %llu)",
                        (unsigned long long)sum.all.live, (unsigned long long)all.live);
    }
    if ((budget->max_live > 0 && all.live > (uint64_t)budget->max_live) ||
        (budget->max_lent > 0 && all.leases > (uint64_t)budget->max_lent) ||
        (budget->max_idle > 0 && all.idle > (uint64_t)budget->max_idle)) {
        contract_broken(c, "L2: live %llu, leases %llu, idle %llu: a budget is exceeded",
                        (unsigned long long)all.live, (unsigned long long)all.leases,
                        (unsigned long long)all.idle);
    }
    if (c->cast && kp_cast_read(c->cast).live > all.live) {
        contract_broken(c, "L2: more resources exist than the pool knows of");
    }
}

/* The laws hold now: call it after each step. On the thread of the test. */
CONTRACT_HELPER void contract_check(contract *c)
{
    contract_watch(c);
    if (c->broken[0]) {
        print_error("%s\n", c->broken);
    }
    assert_string_equal(c->broken, "");
}

CONTRACT_HELPER int contract__idle_hands(kp_key key, const kp_stats *s, void *arg)
{
    contract *c = arg;
    const kp_limits *limits = &c->options.limits;
    bool room = limits->max_live > 0 && !c->options.limits_for &&
                s->live < (uint64_t)limits->max_live && limits->max_creating == KP_UNLIMITED;
    (void)key;
    if (s->waiting > 0 && (s->idle > 0 || s->leases < s->lent * (uint64_t)c->sharing || room)) {
        contract_broken(c, "L1: %llu wait, with %llu idle, %llu leases on %llu lent, %llu live",
                        (unsigned long long)s->waiting, (unsigned long long)s->idle,
                        (unsigned long long)s->leases, (unsigned long long)s->lent,
                        (unsigned long long)s->live);
    }
    return 0;
}

/* Let every other task (the keeper too) come to rest, without letting time go by; then L1 and L2
 * must hold. L1 is only checked where a request cannot be waiting for a budget over all keys. On
 * the thread of the test. */
CONTRACT_HELPER void contract_rest(contract *c)
{
    const kp_budget *budget = &c->options.budget;
    (void)kp_sim_settle(c->sim);
    if (c->pool && budget->max_lent <= 0 && budget->max_live <= 0 &&
        c->options.limits.max_lent <= 0) {
        (void)kp_each_key(c->pool, contract__idle_hands, c);
    }
    contract_check(c);
}

/* ---- begin, open, end ------------------------------------------------------------------------ */

CONTRACT_HELPER void contract__event(const kp_event *event, void *arg)
{
    contract *c = arg;
    if ((int)event->kind < CONTRACT_EVENTS) {
        c->events[event->kind]++;
    }
    if (event->kind == KP_EVENT_CREATE_FAILED && event->why) {
        c->last_failure = event->why->vendor_code;
    }
}

/* Set an option by its name in text; it must be accepted. */
CONTRACT_HELPER void contract_set(contract *c, const char *name, const char *value)
{
    int rc = kp_options_set(&c->options, name, value);
    if (rc != 0) {
        print_error("kp_options_set(\"%s\", \"%s\"): %s %s\n", name, value, kp_strerror(rc),
                    c->why.text);
    }
    assert_int_equal(rc, 0);
}

/* A world, and options from a preset with its numbers filled in as by printf; NULL: the
 * defaults. The pool is not yet open. */
CONTRACT_HELPER void contract_begin(contract *c, const char *preset, ...)
{
    char text[80];
    va_list args;
    memset(c, 0, sizeof *c);
    assert_int_equal(kp_sim_open(CONTRACT_SEED, &c->sim), 0);
    c->options.why = &c->why;
    if (preset) {
        va_start(args, preset);
        (void)vsnprintf(text, sizeof text, preset, args);
        va_end(args);
        contract_set(c, "preset", text);
    }
    c->options.name = "contract";
    c->options.world = kp_sim_world(c->sim);
    c->options.on_event = contract__event;
    c->options.ctx = c;
}

/* Open the pool with the test's own driver; counts are the test's own business then. */
CONTRACT_HELPER void contract_open_driver(contract *c, const kp_driver *driver)
{
    int rc;
    c->options.driver = *driver;
    c->sharing = c->options.limits.sharing > 0 ? c->options.limits.sharing : 1;
    rc = kp_pool_open(&c->options, &c->pool);
    if (rc != 0) {
        print_error("kp_pool_open: %s: %s\n", kp_strerror(rc), c->why.text);
    }
    assert_int_equal(rc, 0);
    contract_check(c);
}

/* Open the pool with the scripted driver of c->script. */
CONTRACT_HELPER void contract_open(contract *c)
{
    kp_driver driver;
    c->script.sim = c->sim;
    assert_int_equal(kp_cast_open(&c->script, &c->cast), 0);
    driver = kp_cast_driver(c->cast);
    contract_open_driver(c, &driver);
}

/* Close the pool; the laws are not checked any more. Returns how many resources are still out. */
CONTRACT_HELPER int64_t contract_close(contract *c, kp_close_mode mode, int64_t within_ms)
{
    int64_t out = kp_pool_close(c->pool, mode, within_ms);
    assert_true(out >= 0);
    return out;
}

/* Nothing may be left: everything made was destroyed exactly once, no request waits, no memory is
 * held. */
CONTRACT_HELPER void contract_end(contract *c)
{
    contract_check(c);
    assert_int_equal(contract_close(c, KP_CLOSE_NOW, KP_SECONDS(30)), 0);
    kp_sim_join(c->sim, 0);
    assert_string_equal(c->broken, "");
    assert_int_equal(c->events[KP_EVENT_MISUSE], c->misuses);
    if (c->cast) {
        kp_cast_count count = kp_cast_read(c->cast);
        assert_int_equal(count.creates, count.destroys);
        assert_int_equal(count.live, 0);
        assert_int_equal(count.destroyed_twice, 0);
        assert_int_equal(count.used_after, 0);
        kp_cast_close(c->cast);
    }
    assert_int_equal(kp_sim_close(c->sim), 0);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* The counters of a key; all zero for a key that is not there. */
CONTRACT_HELPER kp_stats contract_stats(contract *c, kp_key key)
{
    kp_stats s;
    int rc = kp_stats_read(c->pool, key, &s);
    if (rc == KP_ENOTFOUND) {
        memset(&s, 0, sizeof s);
    } else {
        assert_int_equal(rc, 0);
    }
    return s;
}

/* What a lease of the scripted driver holds. */
CONTRACT_HELPER kp_prop *contract_prop(const kp_lease *lease)
{
    return lease->resource;
}

/* ---- steps of the test's own task ------------------------------------------------------------ */

/* Borrow; it must work within 5 s. Returns the number of the resource. */
CONTRACT_HELPER uint64_t contract_take(contract *c, kp_key key, kp_lease *lease)
{
    kp_why why = { 0 };
    kp_ask ask = { .within_ms = KP_SECONDS(5), .why = &why };
    int rc = kp_get(c->pool, key, &ask, lease);
    if (rc != 0) {
        print_error("kp_get: %s: %s\n", kp_strerror(rc), why.text);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(contract_prop(lease)->alive, 1);
    contract_check(c);
    return contract_prop(lease)->number;
}

CONTRACT_HELPER void contract_give(contract *c, kp_lease *lease)
{
    kp_release(lease);
    assert_null(lease->resource);
    contract_check(c);
}

/* Borrow n resources, one after the other; and give n back in the order of the array. */
CONTRACT_HELPER void contract_take_all(contract *c, kp_key key, kp_lease *leases, int n)
{
    for (int i = 0; i < n; i++) {
        (void)contract_take(c, key, &leases[i]);
    }
}

CONTRACT_HELPER void contract_give_all(contract *c, kp_lease *leases, int n)
{
    for (int i = 0; i < n; i++) {
        contract_give(c, &leases[i]);
    }
}

/* Borrow; it must fail with `code`. Returns why, so that the test can check the rest. */
CONTRACT_HELPER kp_why contract_refused(contract *c, kp_key key, int64_t within_ms, int code)
{
    kp_why why = { 0 };
    kp_lease lease = { 0 };
    kp_ask ask = { .within_ms = within_ms, .why = &why };
    assert_int_equal(kp_get(c->pool, key, &ask, &lease), code);
    assert_null(lease.resource);
    contract_check(c);
    return why;
}

/* Bring a key up to its minimum, and wait for it. */
CONTRACT_HELPER void contract_warm(contract *c, kp_key key)
{
    kp_ask ask = { .within_ms = KP_SECONDS(30) };
    assert_int_equal(kp_warm(c->pool, &key, 1, &ask), 1);
    contract_rest(c);
}

/* ---- tasks that get -------------------------------------------------------------------------- */

/* One task: get, hold, give back, as often as `rounds` says. Everything below the line is what
 * became of its last round. */
typedef struct getter {
    contract *c;
    kp_key key;
    int64_t within_ms; /* 0: 10 minutes, so that a hang shows as a time-out */
    kp_gate *gate;     /* hold until it opens ... */
    int64_t hold_ms;   /* ... or so long */
    int rounds;        /* 0 or 1: once */
    bool invalidate;   /* invalidate the resource before giving it back */
    /* ---- */
    int task, rc;
    kp_lease lease;
    kp_why why;
    uint64_t number, turn; /* of the resource; of this answer among those of all getters */
    int64_t answered_ms, answers; /* when (virtual time); how many rounds were answered yes */
} getter;

/* Use what was got: it must not be dead, nor have more users than sharing allows. */
CONTRACT_HELPER void contract__hold(getter *g)
{
    kp_prop *prop = contract_prop(&g->lease);
    prop->users++;
    if (!prop->alive || prop->users > (uint32_t)g->c->sharing) {
        contract_broken(g->c, "L5: resource %llu has %u users, alive %u",
                        (unsigned long long)prop->number, prop->users, prop->alive);
    }
    contract_watch(g->c);
    if (g->gate) {
        kp_gate_pass(g->c->sim, g->gate);
    }
    if (g->hold_ms) {
        kp_sim_pass_ms(g->c->sim, g->hold_ms);
    }
    if (!prop->alive) {
        contract_broken(g->c, "L5: resource %llu was destroyed under its borrower",
                        (unsigned long long)prop->number);
    }
    prop->users--;
}

CONTRACT_HELPER void contract__getter(void *arg)
{
    getter *g = arg;
    int rounds = g->rounds > 0 ? g->rounds : 1;
    for (int i = 0; i < rounds; i++) {
        kp_ask ask = { .within_ms = g->within_ms ? g->within_ms : KP_MINUTES(10), .why = &g->why };
        g->rc = kp_get(g->c->pool, g->key, &ask, &g->lease);
        g->answered_ms = kp_sim_now_ms(g->c->sim);
        if (g->rc != 0) {
            return;
        }
        g->turn = ++g->c->turns;
        g->number = contract_prop(&g->lease)->number;
        g->answers++;
        contract__hold(g);
        if (g->invalidate && kp_invalidate(g->c->pool, g->lease.resource) != 1) {
            contract_broken(g->c, "an invalidated resource that is lent was not known");
        }
        kp_release(&g->lease);
        contract_watch(g->c);
    }
}

/* Start n tasks from a template, in order; each is waiting or holding (or done) when the next
 * begins. */
CONTRACT_HELPER void contract_start_as(contract *c, getter *getters, int n, getter like)
{
    for (int i = 0; i < n; i++) {
        getters[i] = like;
        getters[i].c = c;
        getters[i].rc = KP_EAGAIN; /* not answered yet */
        getters[i].task = kp_sim_spawn(c->sim, contract__getter, &getters[i]);
        assert_true(getters[i].task > 0);
    }
}

/* Start n tasks that get `key` and hold until the gate opens (NULL: give back at once); runs
 * them until all wait. */
CONTRACT_HELPER void contract_start(contract *c, getter *getters, int n, kp_key key, kp_gate *gate)
{
    getter like = { .key = key, .gate = gate };
    contract_start_as(c, getters, n, like);
    contract_rest(c);
}

/* How many of them have been answered yes. */
CONTRACT_HELPER int contract_answered(const getter *getters, int n)
{
    int yes = 0;
    for (int i = 0; i < n; i++) {
        yes += getters[i].rc == 0;
    }
    return yes;
}

#endif
