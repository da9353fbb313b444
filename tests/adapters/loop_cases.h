/* SPDX-License-Identifier: MIT
 *
 * What every driver that never blocks must keep on an event loop of one thread, whatever it talks
 * to. Who includes this has said before what the loop is (loop_stage.h), and says what is peculiar
 * to its server.
 */
#ifndef TESTS_ADAPTERS_LOOP_CASES_H
#define TESTS_ADAPTERS_LOOP_CASES_H

#include "adapters/loop_stage.h"

#include <time.h>

#define LOOP_CASES                                                                                 \
    cmocka_unit_test(a_server_that_says_nothing_must_not_hold_the_loop),                           \
        cmocka_unit_test(a_deadline_must_not_end_early),                                           \
        cmocka_unit_test(a_job_without_a_deadline_must_be_waited_for),                             \
        cmocka_unit_test(what_is_made_in_the_background_must_not_take_for_ever),                   \
        cmocka_unit_test(a_pool_that_closes_must_end_what_is_under_way)

static void open_within(int64_t connect_timeout_ms);    /* a pool, on a loop of its own; 0: usual */
static void close_pool(void);           /* all that was made is closed */
static const char *here(void);          /* the server's key */
static void deaf_key(char *key, size_t size, int port); /* of one at this port of 127.0.0.1 */
static bool is_late(const kp_why *why); /* no connection in time */
static void must_work(const kp_lease *lease);           /* a question gets its answer */

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void a_server_that_says_nothing_must_not_hold_the_loop(void **state)
{
    struct ask *deaf, *late, *well;
    int port, fd = deaf_peer(&port);
    char key[32];

    (void)state;
    deaf_key(key, sizeof key, port);
    open_within(100);
    while (await(begin(2, here(), 20000)) != 0)
        continue;                       /* a slow machine may need more than 100 ms */
    give_back(2);
    deaf = begin(0, key, 20000);
    late = begin(1, key, 20);
    well = begin(2, here(), 20000);
    assert_int_equal(await(well), 0);
    must_work(&well->lease);
    give_back(2);
    assert_int_equal(await(deaf), KP_ECREATE);
    assert_true(is_late(&deaf->why));
    assert_int_not_equal(await(late), 0);
    assert_int_not_equal(late->why.text[0], '\0');
    deaf = begin(0, key, 20000);        /* and one that is given up in the middle */
    turn();
    kp_cancel(&deaf->request);
    assert_int_equal(deaf->status, KP_PENDING);
    close_pool();
    (void)close(fd);
}

static int (*start_in_time)(kp_watcher *, kp_watch *, int, int, int64_t);

/* As a loop does that looked at its clock some time ago. */
static int start_hastily(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                         int64_t within_ms)
{
    return start_in_time(watcher, watch, fd, events, within_ms / 2);
}

/* Neither by a rounding nor by a loop's clock. */
static void a_deadline_must_not_end_early(void **state)
{
    int port, fd = deaf_peer(&port);
    kp_watcher *watcher;
    char key[32];

    (void)state;
    deaf_key(key, sizeof key, port);
    open_within(20);
    watcher = glue_watcher(&stage.loop);
    start_in_time = watcher->start;
    watcher->start = start_hastily;
    for (int i = 0; i < 5; i++) {
        int64_t began = now_ns();

        assert_int_equal(await(begin(0, key, 20000)), KP_ECREATE);
        assert_true(is_late(&stage.ask[0].why));
        assert_true(now_ns() - began >= 20 * 1000000);
    }
    close_pool();
    (void)close(fd);
}

/* As most glue does with a descriptor that a borrower's watch still waits for. */
static inline int start_misused(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                                int64_t within_ms)
{
    (void)watcher, (void)watch, (void)fd, (void)events, (void)within_ms;
    return KP_EMISUSE;
}

static inline bool is_back(void)
{
    kp_stats all;

    assert_int_equal(kp_stats_read(stage.pool, KP_EVERY_KEY, &all), 0);
    return all.lent == 0;
}

/* Give one back, for which there is something to ask the server, and which cannot be watched.
 * False: the answer came so fast that nothing had to be. */
static inline bool give_back_unwatched(int number)
{
    kp_watcher *watcher = glue_watcher(&stage.loop);
    int (*start)(kp_watcher *, kp_watch *, int, int, int64_t) = watcher->start;

    watcher->start = start_misused;
    give_back(number);
    watcher->start = start;
    while (!is_back())
        turn();
    if (stage.invalid == 0)
        return false;
    if (!strstr(stage.cause, "it cannot be watched: does a borrower's watch go on?"))
        fail_msg("told: %s", stage.cause);
    return true;
}

static void note_end(kp_watch *watch, int events)
{
    *(int *)watch->arg = events == 0 ? 1 : -1;
}

/* What job->left_ms says then may be passed on to a watcher as it is. */
static void a_job_without_a_deadline_must_be_waited_for(void **state)
{
    int ended[2] = { 0 };
    kp_watch endless = { .told = note_end, .arg = &ended[0] };
    kp_watch brief = { .told = note_end, .arg = &ended[1] };
    kp_watcher *watcher;

    (void)state;
    open_within(0);
    watcher = glue_watcher(&stage.loop);
    assert_int_equal(watcher->start(watcher, &endless, -1, 0, INT64_MAX), 0);
    assert_int_equal(watcher->start(watcher, &brief, -1, 0, 20), 0);
    while (!ended[1])
        turn();
    assert_int_equal(ended[0], 0);
    watcher->stop(watcher, &endless);
    close_pool();
}

static int64_t longest_ms;

static int start_and_note(kp_watcher *watcher, kp_watch *watch, int fd, int events,
                          int64_t within_ms)
{
    if (within_ms > longest_ms)
        longest_ms = within_ms;
    return start_in_time(watcher, watch, fd, events, within_ms);
}

/* The server may hang for ever, and a refill or a warm-up has no deadline. */
static void what_is_made_in_the_background_must_not_take_for_ever(void **state)
{
    int port, fd = deaf_peer(&port);
    kp_watcher *watcher;
    char text[32];
    kp_key key;

    (void)state;
    deaf_key(text, sizeof text, port);
    key = kp_str(text);
    open_within(0);
    watcher = glue_watcher(&stage.loop);
    start_in_time = watcher->start;
    watcher->start = start_and_note;
    longest_ms = 0;
    assert_int_equal(kp_warm(stage.pool, &key, 1, NULL), 0);
    while (longest_ms < 20000)
        turn();
    assert_in_range(longest_ms, 20000, 30000);
    close_pool();
    (void)close(fd);
}

static void a_pool_that_closes_must_end_what_is_under_way(void **state)
{
    struct ask *lent, *begun;

    (void)state;
    open_within(0);
    lent = begin(0, here(), 20000);
    assert_int_equal(await(lent), 0);
    begun = begin(1, here(), 20000);
    (void)kp_loop_dispatch(glue_loop(&stage.loop));
    assert_true(kp_pool_close(stage.pool, KP_CLOSE_NOW, 0) >= 1);
    assert_int_equal(await(begun), KP_ECLOSED);
    must_work(&lent->lease);
    give_back(0);
    close_pool();
}

#endif
