/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter on a real server: keys, what is said to a new connection, and what is told when
 * there is none. redis_give_back.c has what happens afterwards.
 */
#include "adapters/redis_stage.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>

/* ---- keys ------------------------------------------------------------------------------------ */

static void use(const char *key, const char *user, const char *db)
{
    kp_lease lease = get(key);

    must_say(&lease, "PONG", "PING");
    must_say(&lease, user, "ACL WHOAMI");
    assert_int_equal(redis_clients(db), 1 + (strcmp(db, "db=0") == 0));     /* and the admin */
    kp_release(&lease);
    assert_null(kp_redis(&lease));
    assert_int_equal(kp_invalidate_key(stage.pool, kp_str(key)), 1);
}

static void addresses_paths_and_urls_must_be_reached(void **state)
{
    char url[128];

    (void)state;
    redis_do("OK", "ACL SETUSER odd:one on >a@b/c%%: ~* +@all");
    open_pool((kp_redis_options){ 0 });
    use(redis.place, "default", "db=0");
    use(redis.path, "default", "db=0");
    (void)snprintf(url, sizeof url, "localhost:%d", redis.port);
    use(url, "default", "db=0");
    (void)snprintf(url, sizeof url, "redis://%s/5", redis.place);
    use(url, "default", "db=5");
    (void)snprintf(url, sizeof url, "redis://%s/", redis.place);
    use(url, "default", "db=0");
    (void)snprintf(url, sizeof url, "redis://:" REDIS_SECRET "@%s", redis.place);
    use(url, "default", "db=0");
    (void)snprintf(url, sizeof url, "redis://odd%%3aone:a%%40b%%2Fc%%25:@%s/3", redis.place);
    use(url, "odd:one", "db=3");
    close_pool();
    open_pool((kp_redis_options){ .password = "a@b/c%:" });     /* a user of the key's alone */
    (void)snprintf(url, sizeof url, "redis://odd%%3aone@%s", redis.place);
    use(url, "odd:one", "db=0");
    close_pool();
}

static void a_key_that_is_no_place_must_be_refused_in_a_sentence(void **state)
{
    static const struct { const char *key, *sentence; } bad[] = {
        { "", "neither host:port nor /path" },
        { "localhost:0", "port is not a number" },
        { "rediss://localhost", "does not support TLS" },
        { "redis://", "neither host:port" },
        { "redis://localhost/x", "database is not a number" },
        { "redis://localhost/-1", "database is not a number" },
        { "redis://localhost/99999999999", "database is not a number" },
        { "redis://a%4:b@localhost", "badly encoded" },
        { "redis://a:%00@localhost", "badly encoded" },
        { "redis://a:b%zz@localhost", "badly encoded" },
        { "redis://localhost:port", "port is not a number" },
        { "redis://me:se@cret@localhost", "an @ in its password must be written %40" },
        { "redis://me:@localhost", "a user needs a password" },
        { "secret@localhost", "an @ in its host" },
    };
    char url[3000] = "redis://:";
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ 0 });
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(try_get(bad[i].key, 1000, &lease), KP_EREFUSED);
        assert_int_equal(stage.why.vendor_code, EINVAL);
        expect_text(bad[i].sentence);
    }
    memset(url + 9, 'x', 2500);
    (void)snprintf(url + 2509, sizeof url - 2509, "@localhost");
    assert_int_equal(try_get(url, 1000, &lease), KP_EREFUSED);
    assert_null(strstr(stage.why.text, "xxxx"));
    close_pool();
}

/* Names of clusters; only "main" is known. */
static int look_up(kp_key key, char *text, size_t size, void *ctx)
{
    (void)ctx;
    if (key.size != 4 || memcmp(key.data, "main", 4) != 0)
        return -1;
    (void)snprintf(text, size, "redis://guest:welcome@127.0.0.1:%d", redis.port);
    return 0;
}

/* As strncpy leaves it: there is no end. */
static int look_up_too_much(kp_key key, char *text, size_t size, void *ctx)
{
    (void)key;
    (void)ctx;
    memset(text, 'x', size);
    memcpy(text, "redis://", 8);
    return 0;
}

static void names_of_ones_own_must_be_looked_up(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .where = look_up });
    lease = get("main");
    must_say(&lease, "guest", "ACL WHOAMI");
    kp_release(&lease);
    lease = get("main");
    must_say(&lease, "guest", "ACL WHOAMI");    /* again, after RESET */
    kp_release(&lease);
    assert_int_equal(try_get("other", 1000, &lease), KP_EREFUSED);
    expect_text("options.where does not know this key");
    close_pool();
    open_pool((kp_redis_options){ .where = look_up_too_much });
    assert_int_equal(try_get("main", 1000, &lease), KP_EREFUSED);
    expect_text("it has no host, or one that is too long");
    close_pool();
}

/* ---- a new connection ------------------------------------------------------------------------ */

static void the_options_must_hold_for_each_borrower(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .user = "guest", .password = "welcome", .client_name = "kp" });
    for (int i = 0; i < 2; i++) {
        lease = get(redis.place);
        must_say(&lease, "guest", "ACL WHOAMI");
        must_say(&lease, "kp", "CLIENT GETNAME");
        kp_release(&lease);
    }
    close_pool();
    open_pool((kp_redis_options){ .db = 4 });
    for (int i = 0; i < 2; i++) {
        lease = get(redis.place);
        assert_int_equal(redis_clients("db=4"), 1);
        kp_release(&lease);
    }
    close_pool();
}

static int opens[2], open_code;

static int switch_off_eviction(kp_job *job, redisContext *c, void *ctx)
{
    (void)ctx;
    opens[job->kind == KP_JOB_RESET]++;
    if (redis_says(c, "OK", "CLIENT NO-EVICT on"))
        return kp_job_fail(job, EPROTO, "no such thing");
    return open_code;
}

static void on_open_must_run_again_where_reset_undid_it(void **state)
{
    kp_lease lease;

    (void)state;
    opens[0] = opens[1] = open_code = 0;
    open_pool((kp_redis_options){ .on_open = switch_off_eviction });
    lease = get(redis.place);
    kp_release(&lease);
    lease = get(redis.place);
    assert_true(reused(&lease));
    assert_int_equal(opens[0], 1);
    assert_int_equal(opens[1], 1);
    open_code = 5;
    kp_release(&lease);                 /* one that cannot be opened again is not lent again */
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, 5);
    expect_text("on_open failed");
    open_code = KP_EREFUSED;
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_EREFUSED);
    close_pool();
}

static int wait_there(kp_job *job, redisContext *c, void *ctx)
{
    const kp_job_kind *when = ctx;

    if (job->kind == *when)
        assert_null(redisCommand(c, "BLPOP nothing 0"));
    return 0;                           /* that it was not answered shows all the same */
}

/* Once where it is opened again, and once where it is new. Without a time it would never end. */
static void an_on_open_that_waits_must_cost_no_more_than_what_it_is_a_step_of(void **state)
{
    kp_job_kind when = KP_JOB_RESET;
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .on_open = wait_there, .ctx = &when, .check_timeout_ms = 100,
                                  .connect_timeout_ms = 100 });
    lease = get(redis.place);
    kp_release(&lease);
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 1);
    assert_int_equal(stage.invalid_code, KP_ECREATE);   /* and not KP_EGONE */
    when = KP_JOB_CREATE;
    assert_int_equal(try_get(redis.place, 60000, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, ETIMEDOUT);
    expect_text("no answer within the time");
    close_pool();
}

static int option(const kp_lease *lease, int level, int name)
{
    socklen_t size = sizeof(int);
    int value = -1;

    assert_int_equal(getsockopt(kp_redis(lease)->fd, level, name, &value, &size), 0);
    return value;
}

/* Else one whose server is gone without a word would wait for its answer for ever. */
static void a_connection_must_be_kept_alive_and_without_delay(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ 0 });
    lease = get(redis.place);
    assert_true(option(&lease, IPPROTO_TCP, TCP_NODELAY));
    assert_true(option(&lease, SOL_SOCKET, SO_KEEPALIVE));
    assert_int_equal(option(&lease, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(&lease, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    assert_int_equal(option(&lease, IPPROTO_TCP, TCP_KEEPCNT), 3);
    kp_release(&lease);
    close_pool();
}

/* ---- none ------------------------------------------------------------------------------------ */

static void who_is_not_let_in_must_be_refused_until_it_is_told_otherwise(void **state)
{
    redisContext *admin = redis_admin();
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .password = "" });
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_EREFUSED);
    assert_int_equal(stage.why.vendor_code, EACCES);
    expect_text("NOAUTH");
    assert_null(redis_says(admin, "OK", "ACL SETUSER default nopass"));
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_EREFUSED);
    assert_int_equal(kp_retry_now(stage.pool, kp_str(redis.place)), 0);
    lease = get(redis.place);
    kp_release(&lease);
    assert_null(redis_says(admin, "OK", "ACL SETUSER default resetpass >" REDIS_SECRET));
    redisFree(admin);
    close_pool();
    open_pool((kp_redis_options){ .user = "guest", .password = "welcome", .db = 1 });
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_EREFUSED);
    expect_text("NOPERM");              /* this user may not SELECT */
    close_pool();
}

static void a_password_that_changed_must_not_be_found_out_by_a_borrower(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .user = "guest", .password = "welcome" });
    lease = get(redis.place);
    redis_do("OK", "ACL SETUSER guest resetpass >farewell");
    (void)redis_says(kp_redis(&lease), "", "PING");     /* cut off, or let go on: as it likes */
    kp_release(&lease);
    assert_int_equal(try_get(redis.place, 1000, &lease), KP_EREFUSED);
    expect_text("WRONGPASS");
    redis_do("OK", "ACL SETUSER guest resetpass >welcome");
    close_pool();
}

static int listener(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* A peer that says the same to everybody, and then what it was told to say (PING), twice. */
struct parrot {
    int         fd;
    const char *words;
};

static void *answer_once(void *arg)
{
    const struct parrot *parrot = arg;
    int fd = accept(parrot->fd, NULL, NULL);
    char heard[512] = "", said[512];
    const char *word;

    assert_true(recv(fd, heard, sizeof heard - 1, 0) > 0);
    word = strstr(heard, "PING\r\n");
    assert_non_null(word);
    word += strlen("PING\r\n");
    (void)snprintf(said, sizeof said, "%s%s%s", parrot->words, word, word);
    (void)send(fd, said, strlen(said), MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    return (void *)(intptr_t)fd;
}

/* The next who calls there is answered so, and fails. */
static void fail_by(int fd, const char *key, const char *words)
{
    struct parrot parrot = { fd, words };
    pthread_t thread;
    void *peer;
    kp_lease lease;

    assert_int_equal(pthread_create(&thread, NULL, answer_once, &parrot), 0);
    assert_int_equal(try_get(key, 10000, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, EPROTO);
    assert_int_equal(pthread_join(thread, &peer), 0);
    (void)close((int)(intptr_t)peer);
}

static void a_peer_that_is_silent_or_no_redis_must_say_so_within_the_deadline(void **state)
{
    char key[32];
    int port, fd = listener(&port);
    kp_lease lease;

    (void)state;
    (void)snprintf(key, sizeof key, "127.0.0.1:%d", port);
    open_pool((kp_redis_options){ .connect_timeout_ms = 100 });
    assert_int_equal(try_get(key, 60000, &lease), KP_ECREATE);
    assert_int_equal(stage.why.vendor_code, ETIMEDOUT);
    expect_text("no answer within the time");
    close_pool();
    (void)close(accept(fd, NULL, NULL));
    open_pool((kp_redis_options){ 0 });
    fail_by(fd, key, "HTTP/1.1 400 Bad Request\r\n\r\n");
    expect_text("is that a Redis server?");
    (void)close(fd);
    close_pool();
}

/* As Redis does from 5 on, if AUTH was renamed; or as a server that understands nothing may. */
static void a_server_that_repeats_the_password_must_not_make_it_known(void **state)
{
    char key[32];
    int port, fd = listener(&port);

    (void)state;
    (void)snprintf(key, sizeof key, "127.0.0.1:%d", port);
    open_pool((kp_redis_options){ 0 });
    fail_by(fd, key, "+RESET\r\n-ERR unknown command 'AUTH', with args beginning with: '"
                     REDIS_SECRET "' \r\n");
    expect_text("ERR unknown command 'AUTH' (71): 127.0.0.1:");
    assert_null(strstr(stage.why.text, REDIS_SECRET));
    close_pool();
    open_pool((kp_redis_options){ .password = REDIS_SECRET });
    fail_by(fd, key, "-ERR not understood: AUTH " REDIS_SECRET "\r\n");
    expect_text("ERR not understood: AUTH  (");
    assert_null(strstr(stage.why.text, REDIS_SECRET));
    (void)close(fd);
    close_pool();
}

static void a_server_that_answers_twice_must_not_answer_the_next_borrower(void **state)
{
    char key[32];
    int port, fd = listener(&port);

    (void)state;
    (void)snprintf(key, sizeof key, "127.0.0.1:%d", port);
    open_pool((kp_redis_options){ 0 });
    fail_by(fd, key, "+RESET\r\n+OK\r\n");
    expect_text("more came than was asked for");
    (void)close(fd);
    close_pool();
}

/* ---- options --------------------------------------------------------------------------------- */

static void impossible_options_must_be_refused_by_name(void **state)
{
    static char many[2100];
    static const struct { kp_redis_options how; const char *field; } bad[] = {
        { { .connect_timeout_ms = -5 }, "redis.connect_timeout_ms" },
        { { .command_timeout_ms = KP_NONE }, "redis.command_timeout_ms" },
        { { .check_timeout_ms = KP_OFF }, "redis.check_timeout_ms" },
        { { .db = -1 }, "redis.db" },
        { { .tidy = 3 }, "redis.tidy" },
        { { .user = "somebody" }, "redis.password" },
        { { .password = many }, "redis.password" },
        { { .user = many, .password = "x" }, "redis.user" },
        { { .client_name = many }, "redis.client_name" },
        { { .reserved = { 1 } }, "redis.reserved" },
        { { .reserved = { [5] = 1 } }, "redis.reserved" },
    };
    kp_options more = { .why = &stage.why };
    kp_pool *pool;

    (void)state;
    memset(many, 'x', sizeof many - 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(kp_redis_open(&bad[i].how, &more, &pool), KP_ECONFIG);
        assert_null(pool);
        assert_string_equal(stage.why.field, bad[i].field);
        expect_text(bad[i].field);
    }
    more.limits.min_live = 5;           /* this one the pool refuses, not the adapter */
    more.limits.max_live = 3;
    assert_int_equal(kp_redis_open(NULL, &more, &pool), KP_ECONFIG);
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_paths_and_urls_must_be_reached),
        cmocka_unit_test(a_key_that_is_no_place_must_be_refused_in_a_sentence),
        cmocka_unit_test(names_of_ones_own_must_be_looked_up),
        cmocka_unit_test(the_options_must_hold_for_each_borrower),
        cmocka_unit_test(on_open_must_run_again_where_reset_undid_it),
        cmocka_unit_test(an_on_open_that_waits_must_cost_no_more_than_what_it_is_a_step_of),
        cmocka_unit_test(a_connection_must_be_kept_alive_and_without_delay),
        cmocka_unit_test(who_is_not_let_in_must_be_refused_until_it_is_told_otherwise),
        cmocka_unit_test(a_password_that_changed_must_not_be_found_out_by_a_borrower),
        cmocka_unit_test(a_peer_that_is_silent_or_no_redis_must_say_so_within_the_deadline),
        cmocka_unit_test(a_server_that_repeats_the_password_must_not_make_it_known),
        cmocka_unit_test(a_server_that_answers_twice_must_not_answer_the_next_borrower),
        cmocka_unit_test(impossible_options_must_be_refused_by_name),
    };

    return cmocka_run_group_tests_name("redis", tests, start_server, stop_server);
}
