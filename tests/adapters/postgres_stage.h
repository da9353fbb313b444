/* SPDX-License-Identifier: MIT
 *
 * The stage of the PostgreSQL tests: one server for a program, a pool for each test, and short
 * words for what they all do.
 */
#ifndef TESTS_POSTGRES_STAGE_H
#define TESTS_POSTGRES_STAGE_H

#include <keyedpool_postgres.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "adapters/postgres_server.h"

static struct {
    kp_pool *pool;
    kp_why   why;
    kp_pg_counts counts;
    sem_t    news;                      /* posted at each that is invalid */
    atomic_int invalid, gone, suspect;  /* gone: of the invalid ones, KP_EGONE */
    int      code, reports, opens, closes, open_code;
    uint32_t left;
    char     left_tag[32], cause[200];
} stage;

static inline void note(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_SUSPECT)
        stage.suspect++;
    if (event->kind != KP_EVENT_INVALID)
        return;
    stage.gone += event->code == KP_EGONE;
    stage.code = event->why ? event->why->vendor_code : 0;
    (void)snprintf(stage.cause, sizeof stage.cause, "%s", event->why ? event->why->text : "");
    stage.invalid++;
    (void)sem_post(&stage.news);
}

static inline void note_leftover(const kp_pg_leftover *what, void *ctx)
{
    (void)ctx;
    stage.reports++;
    stage.left = what->what;
    (void)snprintf(stage.left_tag, sizeof stage.left_tag, "%s", what->tag ? what->tag : "");
}

/* watch_every_ms: how often upkeep looks who has ended. */
static inline void open_watched(kp_pg_options pg_options, int64_t watch_every_ms)
{
    kp_options more = { .why = &stage.why, .on_event = note };

    memset(&stage, 0, sizeof stage);
    assert_int_equal(sem_init(&stage.news, 0, 0), 0);
    more.limits.max_live = 2;
    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    more.watch_every_ms = watch_every_ms;
    if (!pg_options.conninfo)
        pg_options.conninfo = pg.conninfo;
    pg_options.on_leftover = note_leftover;
    pg_options.counts = &stage.counts;
    if (kp_pg_open(&pg_options, &more, &stage.pool) != 0)
        fail_msg("open: %s", stage.why.text);
}

static inline void open_pool(kp_pg_options pg_options)
{
    open_watched(pg_options, KP_OFF);
}

static inline void close_pool(void)
{
    kp_pg_counts counts;

    /* upkeep may be destroying one this moment */
    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
    counts = kp_pg_counts_read(&stage.counts);
    assert_int_equal(counts.opened, counts.closed);
    (void)sem_destroy(&stage.news);
}

static inline int try_get(const char *key, kp_lease *lease)
{
    memset(&stage.why, 0, sizeof stage.why);
    return kp_get(stage.pool, kp_str(key), KP_ASK(.within_ms = 20000, .why = &stage.why,
                                                  .tag = "test"), lease);
}

static inline kp_lease get(const char *key)
{
    kp_lease lease;

    if (try_get(key, &lease) != 0)
        fail_msg("get: %s", stage.why.text);
    return lease;
}

static inline long value(const kp_lease *lease, const char *sql)
{
    return pg_value(kp_pg_conn(lease), sql);
}

static inline void wait_for_input(const PGconn *conn)
{
    struct pollfd p = { .fd = PQsocket(conn), .events = POLLIN };

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static inline bool was_reused(const kp_lease *lease)
{
    kp_lease_about about;

    assert_true(kp_lease_read(lease, &about));
    return about.reused;
}

static inline int start(void **state)
{
    (void)state;
    return pg_set_up();
}

static inline int stop(void **state)
{
    (void)state;
    pg_tear_down();
    return 0;
}

#endif
