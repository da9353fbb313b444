/* SPDX-License-Identifier: MIT
 *
 * All adapters that are built, as static libraries in one program: each a library of its own, and
 * none in the way of another. And what all of them owe their user: to say when what his functions
 * use may be freed (driver.drop_ctx), though they have a driver.ctx of their own.
 */
#include <keyedpool.h>
#include <keyedpool_watch.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

/* ---- the adapters ---------------------------------------------------------------------------- */

struct adapter {
    int  (*fill)(kp_options *options);
    int  (*open)(const kp_options *more, kp_pool **out);
    kp_key key;                         /* {0}: its server is not here */
    int  (*watched)(kp_watcher *watcher, kp_options *options);  /* NULL: it may block */
};

#define ADAPTER(x, options)                                                                        \
    static int x##_fill(kp_options *o)                                                             \
    {                                                                                              \
        return kp_##x##_fill(options, o);                                                          \
    }                                                                                              \
    static int x##_open(const kp_options *more, kp_pool **out)                                     \
    {                                                                                              \
        return kp_##x##_open(options, more, out);                                                  \
    }

#define WATCHED(x)                                                                                 \
    static int x##_watched(kp_watcher *watcher, kp_options *o)                                     \
    {                                                                                              \
        return kp_##x##_fill(&(kp_##x##_options){ .watcher = watcher }, o);                        \
    }

#ifdef HAVE_SQLITE
#include <keyedpool_sqlite.h>
static kp_sqlite_key memory = { ":memory:", KP_SQLITE_WRITER };
ADAPTER(sqlite, NULL)
#endif
#ifdef HAVE_POSTGRES
#include <keyedpool_postgres.h>
ADAPTER(pg, NULL)
WATCHED(pg)
#endif
#ifdef HAVE_SOCKET
#include <keyedpool_socket.h>
ADAPTER(socket, NULL)
#endif
#ifdef HAVE_REDIS
#include <keyedpool_redis.h>
ADAPTER(redis, NULL)
WATCHED(redis)
#endif
#ifdef HAVE_HTTP
#include <keyedpool_http.h>
static const kp_http_options unasked = { .probe = "" };
ADAPTER(http, &unasked)
WATCHED(http)
#endif

static const struct adapter adapters[] = {
#ifdef HAVE_SQLITE
    { sqlite_fill, sqlite_open, { &memory, sizeof memory | KP_STRUCT_KEY }, NULL },
#endif
#ifdef HAVE_POSTGRES
    { pg_fill, pg_open, { NULL, 0 }, pg_watched },
#endif
#ifdef HAVE_SOCKET
    { socket_fill, socket_open, { NULL, 0 }, NULL },
#endif
#ifdef HAVE_REDIS
    { redis_fill, redis_open, { NULL, 0 }, redis_watched },
#endif
#ifdef HAVE_HTTP
    { http_fill, http_open, { "http://localhost:1", 18 }, http_watched },
#endif
};

enum { COUNT = sizeof adapters / sizeof *adapters };

static void all_adapters_must_have_room_in_one_program(void **state)
{
    kp_pool *pool[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(adapters[i].open(NULL, &pool[i]), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(kp_pool_close(pool[i], KP_CLOSE_NOW, 0), 0);
}

/* ---- those that never block ------------------------------------------------------------------ */

static int never_start(kp_watcher *watcher, kp_watch *watch, int fd, int events, int64_t within_ms)
{
    (void)watcher, (void)watch, (void)fd, (void)events, (void)within_ms;
    return KP_ENOMEM;
}

static void never_stop(kp_watcher *watcher, kp_watch *watch)
{
    (void)watcher, (void)watch;
}

static void must_refuse(const struct adapter *a, kp_watcher *watcher, kp_loop *loop,
                        const char *sentence)
{
    kp_why why;
    kp_options options = { .loop = loop, .why = &why };

    assert_int_equal(a->watched(watcher, &options), KP_ECONFIG);
    assert_non_null(strstr(why.field, ".watcher"));
    if (!strstr(why.text, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, why.text);
}

static void a_loop_and_a_whole_watcher_must_be_given_together(void **state)
{
    kp_watcher half = { .start = never_start }, other = { .stop = never_stop };
    kp_watcher whole = { .start = never_start, .stop = never_stop };
    kp_loop *loop;

    (void)state;
    assert_int_equal(kp_loop_open(&loop), 0);
    for (int i = 0; i < COUNT; i++) {
        const struct adapter *a = &adapters[i];
        kp_options options = { .loop = loop };

        if (!a->watched)
            continue;
        must_refuse(a, &whole, NULL, "set options.loop first");
        must_refuse(a, NULL, loop, "a pool of an event loop may not block");
        must_refuse(a, &half, loop, "was its glue opened?");
        must_refuse(a, &other, loop, "was its glue opened?");
        assert_int_equal(a->watched(&whole, &options), 0);
        options.driver.drop_ctx(options.driver.ctx);
    }
    (void)kp_loop_close(loop);
}

/* ---- what is the user's ---------------------------------------------------------------------- */

static struct {
    atomic_int dropped, late;           /* late: events after it was dropped */
    bool       slow;                    /* on_event stays inside at the first end */
    sem_t      inside, leave;
} users;

static void drop_users(void *ctx)
{
    assert_ptr_equal(ctx, &users);
    atomic_fetch_add(&users.dropped, 1);
}

static void note(const kp_event *event, void *ctx)
{
    assert_ptr_equal(ctx, &users);
    if (users.slow && event->kind == KP_EVENT_DESTROYED) {
        (void)sem_post(&users.inside);
        (void)sem_wait(&users.leave);
    }
    atomic_fetch_add(&users.late, atomic_load(&users.dropped));
}

static kp_options users_options(void)
{
    kp_options more = { .driver = { .ctx = &users, .drop_ctx = drop_users }, .on_event = note,
                        .ctx = &users, .threads = KP_NONE };

    atomic_store(&users.dropped, 0);
    atomic_store(&users.late, 0);
    users.slow = false;
    return more;
}

static void what_is_the_users_must_be_dropped_with_the_pool(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        kp_options more = users_options();
        kp_pool *pool;

        assert_int_equal(adapters[i].open(&more, &pool), 0);
        assert_int_equal(users.dropped, 0);
        assert_int_equal(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0);
        assert_int_equal(users.dropped, 1);
    }
}

static void without_a_pool_it_must_stay_the_users(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        kp_options more = users_options();
        kp_pool *pool;

        more.deadline_ms = -99;
        assert_int_equal(adapters[i].open(&more, &pool), KP_ECONFIG);
        assert_null(pool);
        assert_int_equal(users.dropped, 0);
    }
}

/* Options may be filled again for the next pool: the driver in them is that of another one. */
static void what_was_filled_must_be_dropped_once(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        kp_options more = users_options(), first;

        assert_int_equal(adapters[i].fill(&more), 0);
        first = more;
        assert_int_equal(adapters[(i + 1) % COUNT].fill(&more), 0);
        more.driver.drop_ctx(more.driver.ctx);
        assert_int_equal(users.dropped, 0);
        first.driver.drop_ctx(first.driver.ctx);
        assert_int_equal(users.dropped, 1);
    }
}

static kp_pool *open_with(int i, kp_lease *lease)
{
    kp_options more = users_options();
    kp_pool *pool;

    assert_int_equal(adapters[i].open(&more, &pool), 0);
    assert_int_equal(kp_get(pool, adapters[i].key, KP_IN_S(10), lease), 0);
    return pool;
}

static void a_lease_must_keep_what_is_the_users(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        kp_lease lease;

        if (!adapters[i].key.data)
            continue;
        assert_int_equal(kp_pool_close(open_with(i, &lease), KP_CLOSE_NOW, 0), 1);
        assert_int_equal(users.dropped, 0);
        kp_release(&lease);
        assert_int_equal(users.dropped, 1);
        assert_int_equal(users.late, 0);
    }
}

static void *discard(void *lease)
{
    kp_discard(lease);
    return NULL;
}

/* The close does not wait for the thread that is in there: drop_ctx does. */
static void an_event_that_goes_on_must_keep_what_is_the_users(void **state)
{
    (void)state;
    assert_int_equal(sem_init(&users.inside, 0, 0) | sem_init(&users.leave, 0, 0), 0);
    for (int i = 0; i < COUNT; i++) {
        pthread_t thread;
        kp_lease lease;
        kp_pool *pool;

        if (!adapters[i].key.data)
            continue;
        pool = open_with(i, &lease);
        users.slow = true;
        assert_int_equal(pthread_create(&thread, NULL, discard, &lease), 0);
        assert_int_equal(sem_wait(&users.inside), 0);
        assert_in_range(kp_pool_close(pool, KP_CLOSE_NOW, 0), 0, 1);
        assert_int_equal(users.dropped, 0);
        assert_int_equal(sem_post(&users.leave), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(users.dropped, 1);
        assert_int_equal(users.late, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_adapters_must_have_room_in_one_program),
        cmocka_unit_test(a_loop_and_a_whole_watcher_must_be_given_together),
        cmocka_unit_test(what_is_the_users_must_be_dropped_with_the_pool),
        cmocka_unit_test(without_a_pool_it_must_stay_the_users),
        cmocka_unit_test(what_was_filled_must_be_dropped_once),
        cmocka_unit_test(a_lease_must_keep_what_is_the_users),
        cmocka_unit_test(an_event_that_goes_on_must_keep_what_is_the_users),
    };

    return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}
