/* SPDX-License-Identifier: MIT
 *
 * The stage of the Redis tests: one server for a program, a pool for each test, and short words for
 * what they all do.
 */
#ifndef TESTS_REDIS_STAGE_H
#define TESTS_REDIS_STAGE_H

#include <keyedpool_redis.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "adapters/redis_server.h"

static struct {
    kp_pool *pool;
    kp_why   why;
    kp_redis_counts counts;
    kp_redis_leftover left;             /* the last one; its pointers are gone */
    char     left_tag[32];
    int      reports;
    int      invalid_code;              /* of the last one that was found to be bad */
} stage;

static inline void note_leftover(const kp_redis_leftover *what, void *ctx)
{
    (void)ctx;
    stage.left = *what;
    stage.reports++;
    (void)snprintf(stage.left_tag, sizeof stage.left_tag, "%s", what->tag ? what->tag : "");
}

static inline void note_invalid(const kp_event *event, void *ctx)
{
    (void)ctx;
    if (event->kind == KP_EVENT_INVALID)
        stage.invalid_code = event->code;
}

/* A failed create is tried again at once, and every idle one is looked at by who gets it: no test
 * here is about back-off, or upkeep. One connection of each key, so that the next borrower has the
 * last one's. */
static inline void open_pool(kp_redis_options how)
{
    kp_options more = { .why = &stage.why, .on_event = note_invalid };

    memset(&stage, 0, sizeof stage);
    more.limits.max_live = 1;
    more.limits.retry_first_ms = KP_NONE;
    more.limits.validate_after_ms = KP_NONE;
    more.watch_every_ms = KP_OFF;
    if (!how.password)
        how.password = REDIS_SECRET;
    how.on_leftover = note_leftover;
    how.counts = &stage.counts;
    assert_int_equal(kp_redis_open(&how, &more, &stage.pool), 0);
}

static inline void close_pool(void)
{
    kp_redis_counts counts;

    assert_int_equal(kp_pool_close(stage.pool, KP_CLOSE_WAIT, KP_SECONDS(20)), 0);
    counts = kp_redis_counts_read(&stage.counts);
    assert_int_equal(counts.opened, counts.closed);
}

static inline int try_get(const char *key, int64_t within_ms, kp_lease *lease)
{
    memset(&stage.why, 0, sizeof stage.why);
    return kp_get(stage.pool, kp_str(key), KP_ASK(.within_ms = within_ms, .why = &stage.why,
                                                  .tag = "test"), lease);
}

static inline kp_lease get(const char *key)
{
    kp_lease lease;

    if (try_get(key, 10000, &lease) != 0)
        fail_msg("get of %s: %s", key, stage.why.text);
    return lease;
}

/* Say a command of words; its reply must begin so (redis_reply_is). */
static inline void must_say(const kp_lease *lease, const char *expected, const char *words)
{
    const char *wrong = redis_says(kp_redis(lease), expected, words);

    if (wrong)
        fail_msg("%s: \"%s\" and not \"%s\"", words, wrong, expected);
}

/* The next reply without saying anything. */
static inline const char *must_hear(const kp_lease *lease, const char *expected)
{
    void *reply = NULL;

    (void)redisGetReply(kp_redis(lease), &reply);
    return redis_reply_is(kp_redis(lease), reply, expected);
}

static inline void wait_for_input(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static inline void expect_text(const char *part)
{
    if (!strstr(stage.why.text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, stage.why.text);
}

static inline bool reused(const kp_lease *lease)
{
    kp_lease_about about;

    assert_true(kp_lease_read(lease, &about));
    return about.reused;
}

static inline int start_server(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_DFL);     /* the adapter does not raise it */
    return redis_set_up(false);
}

static inline int stop_server(void **state)
{
    (void)state;
    redis_tear_down();
    return 0;
}

#endif
