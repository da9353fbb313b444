/* SPDX-License-Identifier: MIT
 *
 * How long a watcher waits, also for numbers that are not times (R2), and how often. Who includes
 * this has said before what the loop is: struct base, base_open, base_watcher, base_turn,
 * base_close.
 */
#ifndef KP_TESTS_TIMES_H
#define KP_TESTS_TIMES_H

#include <time.h>
#include <unistd.h>

struct timed { kp_watch watch; int told, events; };

static inline void count_timed(kp_watch *watch, int events)
{
    struct timed *t = watch->arg;

    t->told++;
    t->events = events;
}

/* Start it, let 50 ms go by, and stop it if it is still watched. */
static inline void watch_for(struct timed *t, int fd, int64_t within_ms)
{
    struct timed end = { .watch = { .told = count_timed, .arg = &end } };
    struct base base;

    base_open(&base);
    kp_watcher *watcher = base_watcher(&base);
    *t = (struct timed){ .watch = { .told = count_timed, .arg = t } };
    assert_int_equal(watcher->start(watcher, &t->watch, fd, fd < 0 ? 0 : KP_WATCH_READ, within_ms),
                     0);
    assert_int_equal(watcher->start(watcher, &end.watch, -1, 0, 50), 0);
    while (end.told == 0)
        base_turn(&base);
    if (t->told == 0)
        watcher->stop(watcher, &t->watch);
    base_close(&base);
}

static void none_must_be_at_once_and_off_never(void **state)
{
    static const int64_t never[] = { KP_OFF, INT64_MAX };
    struct timed t;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    for (int with = 0; with < 2; with++) {
        int fd = with ? ends[0] : -1;
        watch_for(&t, fd, KP_NONE);
        assert_int_equal(t.told, 1);
        assert_int_equal(t.events, 0);
        for (int i = 0; i < 2; i++) {
            watch_for(&t, fd, never[i]);
            assert_int_equal(t.told, 0);
        }
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* A pipe whose end is watched for 200 ms, and a turn of the loop that takes longer. */
struct slow_turn {
    struct base  base;
    struct timed timed;
    kp_watch     work;
    int          ends[2];
};

static inline void slow_watch(struct slow_turn *s)
{
    kp_watcher *watcher = base_watcher(&s->base);

    assert_int_equal(watcher->start(watcher, &s->timed.watch, s->ends[0], KP_WATCH_READ, 200), 0);
}

static inline long ms_between(const struct timespec *from, const struct timespec *to)
{
    return (long)(to->tv_sec - from->tv_sec) * 1000 + (to->tv_nsec - from->tv_nsec) / 1000000;
}

static inline void be_busy(long ms)
{
    struct timespec begun, now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    for (begun = now; ms_between(&begun, &now) < ms;)
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
}

static inline void slow_work(struct slow_turn *s)
{
    assert_int_equal(write(s->ends[1], "x", 1), 1);
    be_busy(250);
}

static inline void work_and_watch(kp_watch *watch, int events)
{
    (void)events;
    slow_work(watch->arg);
    slow_watch(watch->arg);
}

static inline void work_only(kp_watch *watch, int events)
{
    (void)events;
    slow_work(watch->arg);
}

/* The work comes after 1 ms, or when a pipe can be read; there is more between the turns. */
static inline void must_be_ready(void (*work)(kp_watch *, int), bool watched_before, bool by_pipe)
{
    struct slow_turn s = { .timed = { .watch = { .told = count_timed, .arg = &s.timed } },
                           .work = { .told = work, .arg = &s } };
    kp_watcher *watcher;
    int other[2];

    assert_int_equal(pipe(s.ends), 0);
    assert_int_equal(pipe(other), 0);
    assert_int_equal(write(other[1], "y", 1), 1);
    base_open(&s.base);
    if (watched_before)
        slow_watch(&s);
    watcher = base_watcher(&s.base);
    assert_int_equal(by_pipe ? watcher->start(watcher, &s.work, other[0], KP_WATCH_READ, KP_OFF)
                             : watcher->start(watcher, &s.work, -1, 0, 1), 0);
    while (s.timed.told == 0) {
        base_turn(&s.base);
        be_busy(2);
    }
    assert_int_equal(s.timed.told, 1);
    assert_int_equal(s.timed.events, KP_WATCH_READ);
    base_close(&s.base);
    for (int i = 0; i < 2; i++) {
        (void)close(s.ends[i]);
        (void)close(other[i]);
    }
}

/* The time begins with the start, not with the turn of the loop in which other work came before. */
static void what_is_ready_must_not_be_late_for_the_work_before_it(void **state)
{
    (void)state;
    must_be_ready(work_and_watch, false, false);
}

/* It was the loop that was late. */
static void what_came_in_time_must_not_be_late_for_the_work_meanwhile(void **state)
{
    (void)state;
    must_be_ready(work_only, true, false);
    must_be_ready(work_only, true, true);
}

struct tick { kp_watch watch; kp_watcher *watcher; struct timed *until; int *ticks; };

static inline void tick_on(kp_watch *watch, int events)
{
    struct tick *t = watch->arg;

    (void)events;
    be_busy(2);
    if (t->until->told == 0 && ++*t->ticks < 100)
        assert_int_equal(t->watcher->start(t->watcher, watch, -1, 0, 1), 0);
}

/* Two that are due each time the other has ended its work. */
static void work_that_is_always_due_must_not_keep_descriptors_waiting(void **state)
{
    struct timed timed = { .watch = { .told = count_timed, .arg = &timed } };
    struct tick two[2];
    struct base base;
    int ends[2], ticks = 0;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    base_open(&base);
    kp_watcher *watcher = base_watcher(&base);
    for (int i = 0; i < 2; i++) {
        two[i] = (struct tick){ { .told = tick_on, .arg = &two[i] }, watcher, &timed, &ticks };
        assert_int_equal(watcher->start(watcher, &two[i].watch, -1, 0, 1), 0);
    }
    assert_int_equal(watcher->start(watcher, &timed.watch, ends[0], KP_WATCH_READ, KP_OFF), 0);
    be_busy(2);
    while (timed.told == 0)
        base_turn(&base);
    assert_in_range(ticks, 0, 20);
    for (int i = 0; i < 2; i++)
        watcher->stop(watcher, &two[i].watch);
    base_close(&base);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The second start must be refused, and the first one hold. */
static void what_is_watched_must_not_be_started_again(void **state)
{
    struct timed t = { .watch = { .told = count_timed, .arg = &t } };
    struct timed end = { .watch = { .told = count_timed, .arg = &end } };
    struct base base;

    (void)state;
    base_open(&base);
    kp_watcher *watcher = base_watcher(&base);
    assert_int_equal(watcher->start(watcher, &t.watch, -1, 0, 10), 0);
    assert_int_equal(watcher->start(watcher, &t.watch, -1, 0, 20), KP_EMISUSE);
    assert_int_equal(watcher->start(watcher, &end.watch, -1, 0, 50), 0);
    while (end.told == 0)
        base_turn(&base);
    assert_int_equal(t.told, 1);
    base_close(&base);
}

#endif
