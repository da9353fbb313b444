/* SPDX-License-Identifier: MIT
 *
 * pthread_cancel: no call of the pool ends a thread, not even if the functions that it calls are
 * full of cancellation points. A cancelled thread makes a call that runs one of them; the call must
 * return its result, and the thread ends after it. cancel_lease.c has threads that end with a
 * lease.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "faults/child.h"

/* ---- functions that are cancellation points -------------------------------------------------- */

enum where {
    IN_CREATE = 1, IN_VALIDATE, IN_RESET, IN_DESTROY, IN_CANCEL, IN_ABANDON, IN_DROP_CTX,
    IN_LIMITS, IN_EVENT, IN_COPY, IN_DROP, IN_TEXT, IN_EACH, IN_FINALIZER, IN_MISUSE, IN_DONE,
    WHERES
};

static struct {
    kp_pool *pool;
    enum where where;
    int met, keys; /* cancellation points met there; copies of keys not dropped yet */
    kp_job *job;
    bool pending;
    int64_t result;
    bool back;
} s;

static void point(enum where where)
{
    char byte;
    int end[2];

    if (s.where != where) return;
    s.met++;
    pthread_testcancel();
    if (pipe(end) != 0) return; /* read and write are cancellation points, too */
    (void)!write(end[1], "x", 1);
    (void)!read(end[0], &byte, 1);
    close(end[0]);
    close(end[1]);
}

static int create(kp_job *job, void **out)
{
    point(IN_CREATE);
    if (!s.pending) return thing_create(job, out);
    s.job = job;
    return KP_PENDING;
}

static int validate(kp_job *job, void *resource)
{
    return (void)job, (void)resource, point(IN_VALIDATE), 0;
}

static int reset(kp_job *job, void *resource)
{
    return (void)job, (void)resource, point(IN_RESET), 0;
}

static int destroy(kp_job *job, void *resource)
{
    point(IN_DESTROY);
    return thing_destroy(job, resource);
}

static void hurry(kp_job *job)
{
    void *made;

    point(IN_CANCEL);
    if (thing_create(job, &made) == 0) kp_job_done(job, 0, made);
}

static int abandon(kp_job *job, void *resource)
{
    point(IN_ABANDON);
    return thing_abandon(job, resource);
}

static void drop_ctx(void *ctx)
{
    (void)ctx;
    point(IN_DROP_CTX);
}

static void limits_for(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key, (void)limits, (void)ctx;
    point(IN_LIMITS);
}

static void on_event(const kp_event *event, void *ctx)
{
    (void)event, (void)ctx;
    point(IN_EVENT);
}

static uint64_t hash_number(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return (uint64_t) * (const int *)key * UINT64_C(0x9e3779b97f4a7c15) + seed;
}

static bool same_number(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return *(const int *)a == *(const int *)b;
}

static int copy_number(const void *key, void *room, void *ctx)
{
    (void)ctx;
    point(IN_COPY);
    memcpy(room, key, sizeof(int));
    s.keys++;
    return 0;
}

static void drop_number(void *copied, void *ctx)
{
    (void)copied, (void)ctx;
    point(IN_DROP);
    s.keys--;
}

static size_t text_of_number(const void *key, char *buf, size_t size, void *ctx)
{
    (void)ctx;
    point(IN_TEXT);
    return (size_t)snprintf(buf, size, "%d", *(const int *)key);
}

static int each(kp_key key, const kp_stats *stats, void *arg)
{
    (void)key, (void)stats, (void)arg;
    point(IN_EACH);
    return 0;
}

static void finalize(void *arg)
{
    ++*(int *)arg;
    point(IN_FINALIZER);
}

static void hear_misuse(const kp_why *why, void *arg)
{
    (void)why, (void)arg;
    point(IN_MISUSE);
}

static void done(kp_request *request, int status, kp_lease lease)
{
    (void)request;
    s.result = status;
    kp_release(&lease);
    point(IN_DONE);
}

/* ---- the calls that run them ----------------------------------------------------------------- */

static const int number = 7;

static int64_t get_and_release(void)
{
    kp_lease lease;
    int rc = kp_get(s.pool, KP_KEY(&number), KP_IN_S(30), &lease);

    kp_release(&lease);
    return rc;
}

static int64_t get_twice(void)
{
    return get_and_release() + get_and_release();
}

static int64_t get_and_discard(void)
{
    kp_lease lease;
    int rc = kp_get(s.pool, KP_KEY(&number), KP_IN_S(30), &lease);

    kp_discard(&lease);
    return rc;
}

static int64_t get_too_slowly(void)
{
    kp_lease none;

    s.pending = true;
    int rc = kp_get(s.pool, KP_KEY(&number), KP_IN_MS(5), &none);
    s.pending = false;
    return rc == KP_ETIMEDOUT ? 0 : -1;
}

static int64_t close_it(void)
{
    return kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30));
}

static int64_t forget_it(void)
{
    int64_t rc = get_and_discard();

    for (int i = 0; i < 10; i++) (void)kp_keep(s.pool);
    return rc;
}

static int64_t look_at_each(void)
{
    return get_and_release() + kp_each_key(s.pool, each, NULL);
}

static int64_t explain_it(void)
{
    int64_t rc = get_and_release();

    return rc == 0 && kp_explain(s.pool, KP_KEY(&number), NULL, 0) > 0 &&
                   kp_key_text(s.pool, KP_KEY(&number), NULL, 0) == 1
               ? 0
               : -1;
}

static int64_t close_a_scope(void)
{
    kp_scope scope = { 0 };
    kp_lease lease;
    int ran = 0, rc;

    rc = kp_scope_defer(&scope, finalize, &ran);
    if (rc == 0) rc = kp_scope_get(&scope, s.pool, KP_KEY(&number), NULL, &lease);
    if (rc == 0) rc = kp_scope_defer(&scope, finalize, &ran);
    kp_scope_close(&scope);
    return rc == 0 && ran == 2 ? 0 : -1;
}

static int64_t misuse_it(void)
{
    kp_lease none = { NULL, { 1, 1, 1 } };

    kp_on_misuse(hear_misuse, NULL);
    kp_release(&none);
    kp_on_misuse(NULL, NULL);
    return 0;
}

static int64_t run_a_loop(void)
{
    kp_request request = { .done = done };
    int rc = kp_loop_open(&request.loop);

    s.result = 1;
    if (rc == 0) rc = kp_get_start(s.pool, KP_KEY(&number), NULL, &request);
    for (int i = 0; rc == 0 && i < 10 && s.result == 1; i++)
        if (kp_loop_dispatch(request.loop) < -1) rc = -1;
    return rc == 0 ? s.result + kp_loop_close(request.loop) : rc;
}

static const struct row {
    const char *name;
    enum where where;
    int64_t (*call)(void);
} rows[] = {
    { "create", IN_CREATE, get_and_release },
    { "validate", IN_VALIDATE, get_twice },
    { "reset", IN_RESET, get_and_release },
    { "destroy", IN_DESTROY, get_and_discard },
    { "destroy, at close", IN_DESTROY, close_it },
    { "cancel", IN_CANCEL, get_too_slowly },
    { "abandon", IN_ABANDON, get_and_release },
    { "drop_ctx", IN_DROP_CTX, close_it },
    { "limits_for", IN_LIMITS, get_and_release },
    { "on_event", IN_EVENT, get_and_discard },
    { "key_type.copy", IN_COPY, get_and_release },
    { "key_type.drop", IN_DROP, forget_it },
    { "key_type.text", IN_TEXT, explain_it },
    { "the function of kp_each_key", IN_EACH, look_at_each },
    { "a scope's finalizers", IN_FINALIZER, close_a_scope },
    { "kp_on_misuse", IN_MISUSE, misuse_it },
    { "a request's done", IN_DONE, run_a_loop },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static void open_it(enum where where)
{
    kp_options options = {
        .driver = { .create = create, .destroy = destroy, .validate = validate, .reset = reset,
                    .abandon = abandon, .cancel = hurry, .drop_ctx = drop_ctx,
                    .flags = KP_NEVER_BLOCKS },
        .limits = { .max_live = 2, .validate_after_ms = KP_NONE },
        .limits_for = limits_for,
        .key_type = { .size = sizeof(int), .hash = hash_number, .equal = same_number,
                      .copy = copy_number, .drop = drop_number, .text = text_of_number },
        .on_event = on_event,
        .forget_key_after_ms = where == IN_DROP ? KP_NONE : 0,
        .threads = KP_NONE,
    };

    s.where = 0;
    s.met = 0;
    s.back = false;
    assert_int_equal(kp_pool_open(&options, &s.pool), 0);
}

/* ---- the thread that was asked to end -------------------------------------------------------- */

static int state_after; /* PTHREAD_CANCEL_... as the call left it */

static void *call_it(void *arg)
{
    const struct row *row = arg;

    s.where = row->where;
    pthread_cancel(pthread_self());
    s.result = row->call();
    s.where = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state_after);
    s.back = true;
    pthread_testcancel();
    return NULL;
}

static void play(const struct row *row)
{
    pthread_t thread;
    void *ended = NULL;

    if (row->call == close_it) {
        s.where = 0;
        MUST(get_and_release() == 0);
    }
    MUST(pthread_create(&thread, NULL, call_it, (void *)(uintptr_t)row) == 0);
    MUST(pthread_join(thread, &ended) == 0);
    MUST(s.back && s.met > 0 && s.result == 0);
    MUST(state_after == PTHREAD_CANCEL_ENABLE && ended == PTHREAD_CANCELED);
    if (row->call != close_it) {
        kp_stats stats;
        MUST(get_and_release() == 0);
        MUST(kp_stats_read(s.pool, KP_EVERY_KEY, &stats) == 0);
        MUST(stats.lent == 0 && stats.creating == 0 && stats.closing == 0 && stats.waiting == 0);
        MUST(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)) == 0);
    }
    MUST(s.keys == 0 || row->where == IN_ABANDON);
}

static void play_in_a_child(void *arg)
{
    play(arg);
}

static void no_point_in_a_callback_must_end_a_thread_within_the_pool(void **state)
{
    (void)state;
    for (int r = 0; r < ROWS; r++) {
        open_it(rows[r].where);
        if (rows[r].where == IN_ABANDON) { /* something to abandon */
            assert_int_equal(get_and_release(), 0);
        }
        const char *failed =
            child_end(child_start(play_in_a_child, (void *)(uintptr_t)&rows[r]));
        if (failed) fail_msg("%s: %s", rows[r].name, failed);
        assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
        print_message("%-28s comes back first\n", rows[r].name);
    }
}

/* ---- what the pool itself calls -------------------------------------------------------------- */

static int no_fd(void *resource, void *ctx)
{
    return (void)resource, (void)ctx, -1;
}

static void *end_it(void *arg)
{
    pthread_cancel(pthread_self());
    s.result = kp_pool_close(arg, KP_CLOSE_WAIT, KP_SECONDS(30));
    s.back = true;
    pthread_testcancel();
    return NULL;
}

static void count_drop(void *ctx)
{
    ++*(int *)ctx;
}

static void a_pool_that_watches_must_end_before_the_thread_that_closes_it(void **state)
{
    int drops = 0;
    kp_options options = { .driver = { .create = thing_create, .destroy = thing_destroy,
                                       .fd = no_fd, .drop_ctx = count_drop, .ctx = &drops },
                           .threads = KP_NONE };
    kp_pool *pool;
    pthread_t thread;
    void *ended;

    (void)state;
    s.back = false;
    assert_int_equal(kp_pool_open(&options, &pool), 0);
    assert_int_equal(pthread_create(&thread, NULL, end_it, pool), 0);
    assert_int_equal(pthread_join(thread, &ended), 0);
    assert_true(s.back && s.result == 0 && ended == PTHREAD_CANCELED);
    assert_int_equal(drops, 1);
}

/* ---- a loop that is rung --------------------------------------------------------------------- */

static void *release_it(void *arg)
{
    pthread_cancel(pthread_self());
    kp_release(arg);
    s.back = true;
    pthread_testcancel();
    return NULL;
}

static void ringing_a_loop_must_not_end_the_thread_that_does(void **state)
{
    kp_request request = { .done = done };
    kp_lease held[2];
    pthread_t thread;
    void *ended;

    (void)state;
    open_it(0);
    assert_int_equal(kp_loop_open(&request.loop), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(kp_get(s.pool, KP_KEY(&number), NULL, &held[i]), 0);
    for (int i = 0; i < 2; i++) { /* had the first left the lock taken, the second would hang */
        struct pollfd fd = { .fd = kp_loop_fd(request.loop), .events = POLLIN };

        s.back = false;
        s.result = 1;
        if (i == 1) assert_int_equal(kp_get(s.pool, KP_KEY(&number), NULL, &held[0]), 0);
        assert_int_equal(kp_get_start(s.pool, KP_KEY(&number), NULL, &request), 0);
        assert_true(kp_loop_dispatch(request.loop) > 0);
        assert_int_equal(pthread_create(&thread, NULL, release_it, &held[i]), 0);
        assert_int_equal(pthread_join(thread, &ended), 0);
        assert_true(s.back && ended == PTHREAD_CANCELED);
        assert_int_equal(poll(&fd, 1, 0), 1);
        while (s.result == 1) assert_true(kp_loop_dispatch(request.loop) >= -1);
        assert_int_equal(s.result, 0);
    }
    kp_release(&held[0]);
    assert_int_equal(kp_loop_close(request.loop), 0);
    assert_int_equal(kp_pool_close(s.pool, KP_CLOSE_WAIT, KP_SECONDS(30)), 0);
}

#define T(test) cmocka_unit_test_setup(test, things_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_point_in_a_callback_must_end_a_thread_within_the_pool),
        T(a_pool_that_watches_must_end_before_the_thread_that_closes_it),
        T(ringing_a_loop_must_not_end_the_thread_that_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
