/* SPDX-License-Identifier: MIT
 *
 * The stage of the misuse tests: a pool in a virtual world that remembers what it was told about
 * misuse, by on_event and by kp_on_misuse.
 */
#ifndef TESTS_MISUSE_STAGE_H
#define TESTS_MISUSE_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "keyedpool_test.h"

struct heard {
    int    misuses, code, leaks;
    char   text[200], leak_tag[40];
    char   bad_text[200], destroy_text[200];
    bool   leak_site;
    int    orphans;                     /* misuse that reached kp_on_misuse */
    char   orphan_text[200];
    int    dropped;                     /* runs of drop_ctx */
};

struct fixture {
    kp_sim  *sim;
    kp_cast *cast;
    kp_pool *pool;
    struct heard heard;
};

static inline void on_event(const kp_event *event, void *ctx)
{
    struct heard *h = ctx;

    if (event->kind == KP_EVENT_MISUSE) {
        h->misuses++;
        h->code = event->code;
        assert_non_null(event->why);
        snprintf(h->text, sizeof h->text, "%s", event->why->text);
    } else if (event->kind == KP_EVENT_LEAK) {
        h->leaks++;
        h->leak_site = event->site != NULL;
        snprintf(h->leak_tag, sizeof h->leak_tag, "%s", event->tag ? event->tag : "");
    } else if (event->kind == KP_EVENT_INVALID) {
        snprintf(h->bad_text, sizeof h->bad_text, "%s", event->why->text);
    } else if (event->kind == KP_EVENT_DESTROY_FAILED) {
        snprintf(h->destroy_text, sizeof h->destroy_text, "%s", event->why->text);
    }
}

static inline void on_orphan(const kp_why *why, void *arg)
{
    struct heard *h = arg;

    h->orphans++;
    snprintf(h->orphan_text, sizeof h->orphan_text, "%s", why->text);
}

static inline int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    if (kp_sim_open(1, &f.sim) < 0)
        return -1;
    if (kp_cast_open(&(const kp_script){ .sim = f.sim }, &f.cast) < 0)
        return -1;
    kp_on_misuse(on_orphan, &f.heard);
    *state = &f;
    return 0;
}

static inline void open_pool(struct fixture *f, kp_options options)
{
    if (!options.driver.create)
        options.driver = kp_cast_driver(f->cast);
    options.world = kp_sim_world(f->sim);
    options.on_event = on_event;
    options.ctx = &f->heard;
    assert_int_equal(kp_pool_open(&options, &f->pool), 0);
}

static inline void open_small(struct fixture *f)
{
    open_pool(f, (kp_options){ .limits = { .max_live = 1 } });
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    kp_cast_count   n;

    if (f->pool && kp_pool_close(f->pool, KP_CLOSE_WAIT, KP_SECONDS(1)) != 0)
        return -1;
    n = kp_cast_read(f->cast);
    kp_cast_close(f->cast);
    kp_on_misuse(NULL, NULL);
    if (kp_sim_close(f->sim) != 0)
        return -1;
    return n.creates == n.destroys && n.destroyed_twice == 0 ? 0 : -1;
}

static inline void take(struct fixture *f, const char *key, kp_lease *lease)
{
    assert_int_equal(kp_get(f->pool, kp_str(key), KP_IN_S(1), lease), 0);
    assert_non_null(lease->resource);
}

static inline kp_stats stats(struct fixture *f)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(f->pool, KP_EVERY_KEY, &s), 0);
    return s;
}

/* `f` heard of exactly so many misuses, the last with these words in it; the counter agrees. */
static inline void assert_told(struct fixture *f, int misuses, const char *words)
{
    assert_int_equal(f->heard.misuses, misuses);
    assert_int_equal(f->heard.code, KP_EMISUSE);
    if (!strstr(f->heard.text, words))
        fail_msg("\"%s\" does not say \"%s\"", f->heard.text, words);
    assert_int_equal(stats(f).misuses, misuses);
    assert_int_equal(f->heard.orphans, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
