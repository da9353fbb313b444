/* SPDX-License-Identifier: MIT
 *
 * driver.fd, with real sockets: an idle resource whose peer has closed the connection is dropped
 * before it is lent, a lent one when it comes back, and no other one is touched.
 */
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "house.h"

enum { MANY = 200 };

struct line {
    int fd, peer; /* -1: closed */
    int asked;    /* for its descriptor */
};

static struct line line[MANY];
static int made, alive;
static bool closes_at_once, has_none;
static int instead; /* the descriptor that driver.fd answers instead; 0: the real one */
static void (*meanwhile)(void); /* once, while the first one goes */
static struct house house, *const h = &house;

static int dial(kp_job *job, void **resource)
{
    struct line *l = &line[made++];
    int end[2];

    (void)job;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) != 0) return -1;
    *l = (struct line){ .fd = end[0], .peer = end[1] };
    if (closes_at_once) l->peer = close(l->peer) - 1;
    alive++;
    *resource = l;
    return 0;
}

static int hang_up(kp_job *job, void *resource)
{
    struct line *l = resource;

    (void)job;
    (void)close(l->fd);
    if (l->peer >= 0) (void)close(l->peer);
    l->fd = l->peer = -1;
    alive--;
    if (meanwhile) {
        void (*once)(void) = meanwhile;
        meanwhile = NULL;
        once();
    }
    return 0;
}

static int descriptor(void *resource, void *ctx)
{
    struct line *l = resource;

    (void)ctx;
    l->asked++;
    return has_none ? -1 : instead ? instead : l->fd;
}

static void peer_closes(int i)
{
    (void)close(line[i].peer);
    line[i].peer = -1;
}

static kp_options plan(int64_t max_live)
{
    kp_options o = house_plan(h, 1, NULL, NULL);

    made = alive = 0;
    closes_at_once = has_none = false;
    instead = 0;
    o.driver = (kp_driver){ .create = dial, .destroy = hang_up, .fd = descriptor };
    o.limits.max_live = max_live;
    o.limits.idle_ttl_ms = o.limits.max_age_ms = o.leak_after_ms = KP_OFF;
    return o;
}

static void begin(kp_options *o)
{
    h->plan = *o;
    h->foreign = 1; /* the cast made none of them */
    if (kp_pool_open(o, &h->pool) != 0) fail_msg("not opened");
}

static kp_lease get(void)
{
    kp_lease lease;

    assert_int_equal(kp_get(h->pool, kp_str("db"), NULL, &lease), 0);
    return lease;
}

static void stock(int many)
{
    static kp_lease lease[MANY];

    for (int i = 0; i < many; i++) lease[i] = get();
    for (int i = 0; i < many; i++) kp_release(&lease[i]);
}

static kp_stats stats(void)
{
    kp_stats s;

    assert_int_equal(kp_stats_read(h->pool, KP_EVERY_KEY, &s), 0);
    assert_int_equal(s.live, (uint64_t)alive + s.creating);
    return s;
}

static void end(void)
{
    assert_int_equal(kp_pool_close(h->pool, KP_CLOSE_NOW, 1000), 0);
    assert_int_equal(alive, 0);
    kp_cast_close(h->cast);
    assert_int_equal(kp_sim_close(h->sim), 0);
}

static void what_the_peer_has_closed_must_go_before_anybody_borrows_it(void **state)
{
    kp_options o = plan(3);

    (void)state;
    begin(&o);
    stock(3);
    peer_closes(1);
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().idle, 2);
    assert_int_equal(stats().invalid, 1);
    assert_int_equal(line[1].fd, -1);
    assert_int_equal(h->seen[KP_EVENT_INVALID], 1);
    assert_int_equal(h->last_code[KP_EVENT_INVALID], KP_EGONE);
    assert_int_equal(h->seen[KP_EVENT_SUSPECT], 0);
    for (int i = 0; i < 3; i++) assert_int_equal(line[i].asked, 1);
    end();
}

static void what_is_lent_must_go_when_it_comes_back(void **state)
{
    kp_options o = plan(2);

    (void)state;
    begin(&o);
    kp_lease lease = get();
    peer_closes(0);
    kp_sim_pass_ms(h->sim, 3000);
    assert_int_equal(stats().lent, 1);
    assert_int_equal(h->seen[KP_EVENT_INVALID], 1); /* reported once */
    kp_release(&lease);
    assert_int_equal(stats().live, 0);
    end();
}

static void data_must_be_nothing_to_it(void **state)
{
    kp_options o = plan(1);

    (void)state;
    begin(&o);
    stock(1);
    assert_int_equal(write(line[0].peer, "hello", 5), 5);
    kp_sim_pass_ms(h->sim, 5000);
    assert_int_equal(stats().idle, 1);
    peer_closes(0); /* with data unread */
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().live, 0);
    end();
}

/* Descriptors and slots are used again at once. */
static void old_news_must_not_concern_whoever_has_the_descriptor_next(void **state)
{
    kp_options o = plan(1);

    (void)state;
    begin(&o);
    for (int i = 0; i < 100; i += 2) {
        kp_lease lease = get();
        peer_closes(i);
        kp_discard(&lease);
        stock(1);
        kp_sim_pass_ms(h->sim, 1000);
        assert_int_equal(stats().idle, 1);
        assert_int_equal(made, i + 2);
        lease = get();
        kp_discard(&lease);
    }
    end();
}

/* The first one is closed while it is lent, and destroyed when its number is another's. */
static void who_has_the_number_of_a_closed_one_must_be_watched(void **state)
{
    kp_options o = plan(2);

    (void)state;
    begin(&o);
    kp_lease lost = get();
    const int fd = line[0].fd;
    line[0].fd = close(fd) - 1;
    kp_lease other = get();
    assert_int_equal(line[1].fd, fd);
    kp_discard(&lost);
    kp_release(&other);
    peer_closes(1);
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().live, 0);
    end();
}

static void a_descriptor_that_outlives_its_resource_must_be_watched_for_the_next(void **state)
{
    kp_options o = plan(1);

    (void)state;
    begin(&o);
    kp_lease lease = get();
    line[1] = line[0];
    line[0].fd = line[0].peer = -1; /* it is left open */
    kp_discard(&lease);
    alive++;
    assert_int_equal(kp_add(h->pool, kp_str("db"), &line[1]), 0);
    peer_closes(1);
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().live, 0);
    end();
}

static void many_at_once_must_all_go(void **state)
{
    kp_options o = plan(MANY);

    (void)state;
    begin(&o);
    stock(MANY);
    for (int i = 0; i < MANY; i++) peer_closes(i);
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().live, 0);
    end();
}

static void what_is_dead_when_it_is_made_must_go_too(void **state)
{
    kp_options o = plan(1);

    (void)state;
    closes_at_once = true;
    begin(&o);
    kp_lease lease = get();
    kp_sim_pass_ms(h->sim, 2000);
    kp_release(&lease);
    assert_int_equal(stats().live, 0);
    end();
}

static void what_has_no_descriptor_must_be_left_alone(void **state)
{
    kp_options o = plan(2);

    (void)state;
    has_none = true;
    o.threads = KP_NONE;
    begin(&o);
    stock(2);
    peer_closes(0);
    assert_int_equal(kp_keep(h->pool), -1); /* nothing is ever due */
    kp_sim_pass_ms(h->sim, 5000);
    assert_int_equal(kp_keep(h->pool), -1);
    assert_int_equal(stats().idle, 2);
    end();
}

/* A file, or nothing at all. */
static void a_descriptor_that_cannot_be_watched_must_be_left_alone(void **state)
{
    FILE *file = tmpfile();

    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        kp_options o = plan(1);
        o.threads = KP_NONE;
        begin(&o);
        instead = i ? 1 << 20 : fileno(file);
        stock(1);
        peer_closes(0);
        assert_int_equal(kp_keep(h->pool), -1); /* nothing is ever due */
        kp_sim_pass_ms(h->sim, 5000);
        assert_int_equal(stats().idle, 1);
        end();
    }
    (void)fclose(file);
}

static void where_it_is_off_nothing_must_be_asked(void **state)
{
    kp_options o = plan(1);

    (void)state;
    o.watch_every_ms = KP_OFF;
    begin(&o);
    stock(1);
    peer_closes(0);
    kp_sim_pass_ms(h->sim, 5000);
    assert_int_equal(stats().idle, 1);
    assert_int_equal(line[0].asked, 0);
    end();
}

static void upkeep_must_want_no_look_when_nothing_is_there(void **state)
{
    kp_options o = plan(1);

    (void)state;
    o.threads = KP_NONE;
    o.watch_every_ms = 250;
    o.forget_key_after_ms = KP_OFF;
    begin(&o);
    stock(1);
    assert_int_equal(kp_keep(h->pool), 250);
    peer_closes(0);
    kp_sim_pass_ms(h->sim, 250);
    assert_int_equal(kp_keep(h->pool), -1);
    assert_int_equal(stats().live, 0);
    stock(1);
    assert_int_equal(kp_keep(h->pool), 250);
    end();
}

static void what_is_added_must_be_watched_and_what_is_refused_not(void **state)
{
    kp_options o = plan(1);
    void *mine[2];

    (void)state;
    begin(&o);
    for (int i = 0; i < 2; i++) assert_int_equal(dial(NULL, &mine[i]), 0);
    assert_int_equal(kp_add(h->pool, kp_str("db"), mine[0]), 0);
    assert_int_equal(kp_add(h->pool, kp_str("db"), mine[1]), KP_EFULL);
    peer_closes(0);
    peer_closes(1);
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(kp_add(h->pool, kp_str("db"), mine[1]), 0); /* there is room now */
    kp_sim_pass_ms(h->sim, 1000);
    assert_int_equal(stats().live, 0);
    end();
}

static void a_key_that_refills_must_have_a_new_one_instead(void **state)
{
    kp_options o = plan(2);

    (void)state;
    o.limits.min_live = 2;
    o.limits.refill = KP_REFILL_EAGER;
    begin(&o);
    stock(2);
    kp_sim_pass_ms(h->sim, 1);
    peer_closes(0);
    kp_sim_pass_ms(h->sim, 1001);
    assert_int_equal(stats().idle, 2);
    assert_int_equal(made, 3);
    end();
}

static void end_the_others(void)
{
    for (int i = 0; i < 2; i++) (void)kp_invalidate(h->pool, &line[i]);
}

static void end_the_others_and_make_one(void)
{
    end_the_others();
    stock(1);
}

/* Two at once: while the first one goes, so does the other, and its place gets another resource. */
static void news_must_not_concern_who_came_meanwhile(void **state)
{
    void (*deeds[])(void) = { end_the_others, end_the_others_and_make_one };

    (void)state;
    for (int i = 0; i < 2; i++) {
        kp_options o = plan(2);
        begin(&o);
        stock(2);
        meanwhile = deeds[i];
        for (int k = 0; k < 2; k++) peer_closes(k);
        kp_sim_pass_ms(h->sim, 3000);
        assert_int_equal(stats().idle, i);
        assert_int_equal(h->seen[KP_EVENT_INVALID], 1);
        end();
    }
}

static void one_that_was_to_go_already_must_not_be_told(void **state)
{
    kp_options o = plan(1);

    (void)state;
    begin(&o);
    kp_lease lease = get();
    assert_int_equal(kp_invalidate(h->pool, lease.resource), 1);
    peer_closes(0);
    kp_sim_pass_ms(h->sim, 2000);
    assert_int_equal(h->seen[KP_EVENT_INVALID], 0);
    kp_release(&lease);
    end();
}

static void an_open_without_descriptors_must_say_so(void **state)
{
    kp_options o = plan(1);
    struct rlimit before, none;
    kp_pool *pool;
    kp_why why;

    (void)state;
    o.why = &why;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int code = kp_pool_open(&o, &pool);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(code, KP_ENOMEM);
    assert_non_null(strstr(why.text, "descriptor"));
    assert_null(pool);
    kp_cast_close(h->cast);
    assert_int_equal(kp_sim_close(h->sim), 0);
}

static void contradictions_must_be_refused(void **state)
{
    kp_options o = plan(1);

    (void)state;
    o.watch_every_ms = KP_NONE;
    house_refuses(h, &o, "watch_every_ms");
    o.watch_every_ms = -5;
    house_refuses(h, &o, "watch_every_ms");
    kp_cast_close(h->cast);
    assert_int_equal(kp_sim_close(h->sim), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_peer_has_closed_must_go_before_anybody_borrows_it),
        cmocka_unit_test(what_is_lent_must_go_when_it_comes_back),
        cmocka_unit_test(data_must_be_nothing_to_it),
        cmocka_unit_test(old_news_must_not_concern_whoever_has_the_descriptor_next),
        cmocka_unit_test(who_has_the_number_of_a_closed_one_must_be_watched),
        cmocka_unit_test(a_descriptor_that_outlives_its_resource_must_be_watched_for_the_next),
        cmocka_unit_test(many_at_once_must_all_go),
        cmocka_unit_test(what_is_dead_when_it_is_made_must_go_too),
        cmocka_unit_test(what_has_no_descriptor_must_be_left_alone),
        cmocka_unit_test(a_descriptor_that_cannot_be_watched_must_be_left_alone),
        cmocka_unit_test(where_it_is_off_nothing_must_be_asked),
        cmocka_unit_test(upkeep_must_want_no_look_when_nothing_is_there),
        cmocka_unit_test(what_is_added_must_be_watched_and_what_is_refused_not),
        cmocka_unit_test(a_key_that_refills_must_have_a_new_one_instead),
        cmocka_unit_test(news_must_not_concern_who_came_meanwhile),
        cmocka_unit_test(one_that_was_to_go_already_must_not_be_told),
        cmocka_unit_test(an_open_without_descriptors_must_say_so),
        cmocka_unit_test(contradictions_must_be_refused),
    };
#if !defined __linux__
    (void)tests;
    return 77;
#else
    return cmocka_run_group_tests_name("watched descriptors", tests, NULL, NULL);
#endif
}
