/* SPDX-License-Identifier: MIT
 *
 * The hard cases H19 to H24 as races on real threads: callbacks that call back, deadlines among
 * wake-ups, stale leases, keys that come and go, limits that change, and the lost wake-up. See
 * rounds.h; step by step they are in tests/contract/hard*.c.
 */
#include "rounds.h"

static const char *const names[] = { "a", "b", "c", "d" };

/* ---- H19: callbacks that fail, call back and close ------------------------------------------- */

static struct h19 { bool closes; } h19;

/* What a callback does with its own pool. It gives back at once what it borrows. */
static int calls_back(struct rounds *r, kp_pool *pool)
{
    static _Thread_local bool inside;
    const char *key = names[rounds_roll(2)];
    kp_ask ask = { .within_ms = KP_NONE, .flags = rounds_roll(2) ? KP_DONT_WAIT : 0,
                   .tag = "inside" };
    kp_lease lease;

    if (inside) return rounds_roll(4) ? 0 : -3;
    inside = true;
    switch (rounds_roll(5)) {
    case 0: (void)kp_invalidate_key(pool, kp_str(key)); break;
    case 1:
        if (h19.closes) (void)kp_pool_close(pool, KP_CLOSE_NOW, KP_NONE);
        break;
    case 2: rounds_look(r, pool); break;
    default:
        if (rounds_ask(r, key, &ask, &lease) == 0) rounds_release(r, &lease);
    }
    inside = false;
    return rounds_roll(4) ? 0 : -3;
}

static int h19_create(struct rounds *r, kp_job *job) { return calls_back(r, job->pool); }

static int h19_item(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    (void)item;
    return calls_back(r, job->pool);
}

static void h19_play(struct rounds *r, unsigned who)
{
    for (int i = 0; i < 4; i++) {
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS, .tag = "outside" };
        kp_lease lease;
        int rc = rounds_ask(r, names[(who + (unsigned)i) % 2], &ask, &lease);
        ROUNDS_EXPECT(r, rc == 0 || rc == KP_ECREATE || (h19.closes && rc == KP_ECLOSED), "%d", rc);
        atomic_fetch_add(&r->tally[rc == 0 ? 0 : rc == KP_ECREATE ? 1 : 2], 1);
        if (rc) continue;
        if (rounds_roll(2)) rounds_discard(r, &lease);
        else rounds_release(r, &lease);
    }
}

static void H19_callbacks_that_fail_and_call_back_and_close_lose_nothing(void **state)
{
    static const char *const tallies[] = { "served", "failed", "closed", NULL };
    struct rounds *r = rounds_open("H19", 4, h19_play, tallies);

    (void)state;
    r->in_create = h19_create;
    r->in_check = r->in_destroy = h19_item;
    r->options.driver.validate = r->options.driver.reset = rounds_check;
    r->options.limits.max_live = 2;
    r->options.limits.validate_after_ms = KP_NONE;
    r->options.budget.max_live = 3;
    while (rounds_next(r)) {
        rounds_pool(r);
        h19.closes = r->round % 2;
        rounds_race(r);
        if (h19.closes) (void)kp_pool_close(r->pool, KP_CLOSE_NOW, KP_NONE);
        else rounds_close(r);
        if (h19.closes) rounds_gone(r);
    }
    rounds_end(r);
}

/* ---- H20: wake-ups do not restart a deadline ------------------------------------------------- */

static struct h20 {
    bool good; /* those that pass are lent to others, which come again; else they are found bad */
    atomic_bool over;
    atomic_uint passed;
    uint64_t late_ns;
} h20;

static int h20_check(struct rounds *r, kp_job *job, struct rounds_item *item)
{
    (void)r;
    (void)job;
    (void)item;
    return h20.good ? 0 : -1;
}

/* Resources pass until the deadline has come. If each of them restarted it, it would never come. */
static void h20_waits(struct rounds *r)
{
    kp_ask ask = { .until = { rounds_ns() + 1000000 }, .flags = h20.good ? 0 : KP_DONT_CREATE };
    kp_lease lease;
    int rc = rounds_ask(r, "a", &ask, &lease);
    uint64_t now = rounds_ns();

    ROUNDS_EXPECT(r, rc == KP_ETIMEDOUT || (h20.good && rc == 0), "%d", rc);
    if (rc) ROUNDS_EXPECT(r, now >= ask.until.ns, "%s", "too early");
    h20.late_ns = now > ask.until.ns ? now - ask.until.ns : 0;
    atomic_store(&h20.over, true);
    if (rc == 0) rounds_release(r, &lease);
    atomic_fetch_add(&r->tally[rc != 0], 1);
}

static void h20_play(struct rounds *r, unsigned who)
{
    if (who == 0) {
        h20_waits(r);
        return;
    }
    if (who > 1 && !h20.good) return;
    while (!atomic_load(&h20.over)) {
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS, .flags = h20.good ? 0 : KP_FRESH };
        kp_lease lease;
        int rc = rounds_ask(r, "a", &ask, &lease);
        ROUNDS_EXPECT(r, rc == 0, "%d", rc);
        if (rc) return;
        rounds_release(r, &lease);
        atomic_fetch_add(&h20.passed, 1);
    }
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void H20_a_deadline_among_wakeups_ends_the_wait_when_it_comes(void **state)
{
    static const char *const tallies[] = { "served", "timed out", "passed", NULL };
    struct rounds *r = rounds_open("H20", 4, h20_play, tallies);
    uint64_t *late = calloc(r->wanted + 1, sizeof *late), half;

    (void)state;
    if (!late) abort();
    r->in_check = h20_check;
    r->options.driver.validate = rounds_check;
    r->options.limits.validate_after_ms = KP_NONE;
    while (rounds_next(r)) {
        h20.good = r->round % 2;
        r->options.limits.max_live = h20.good ? 1 : 2;
        rounds_pool(r);
        atomic_store(&h20.over, false);
        atomic_store(&h20.passed, 0);
        rounds_race(r);
        late[r->round] = h20.late_ns;
        atomic_fetch_add(&r->tally[2], atomic_load(&h20.passed));
        h20.good = true;
        rounds_has(r, "a", 1);
        rounds_close(r);
    }
    qsort(late, r->wanted + 1, sizeof *late, by_size);
    half = late[r->wanted / 2];
    print_message("H20: half of them at most %llu us late, all of them %llu us\n",
                  (unsigned long long)half / 1000, (unsigned long long)late[r->wanted] / 1000);
    free(late);
    /* a busy machine makes some late; a deadline that each one restarts would never come (I6) */
    ROUNDS_EXPECT(r, half < 20000000, "half are %llu ns late", (unsigned long long)half);
    rounds_judge(r);
    rounds_end(r);
}

/* ---- H21: a stale second release after the item was lent again ------------------------------- */

static struct h21 { kp_lease held; bool dies; } h21;

static void h21_play(struct rounds *r, unsigned who)
{
    kp_lease lease, stale;
    kp_lease_about about;

    if (who == 0) {
        stale = h21.held;
        if (h21.dies) rounds_discard(r, &h21.held);
        else rounds_release(r, &h21.held);
        rounds_pause(1000);
        if (rounds_roll(2)) kp_discard(&stale);
        else kp_release(&stale);
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (rounds_get(r, "a", &lease)) continue;
        rounds_pause(1000);
        ROUNDS_EXPECT(r, kp_lease_read(&lease, &about), "%s", "it was ended by another");
        rounds_release(r, &lease);
    }
}

static void H21_a_stale_lease_ends_nothing_when_its_resource_is_lent_again(void **state)
{
    struct rounds *r = rounds_open("H21", 3, h21_play, NULL);

    (void)state;
    r->options.limits.max_live = 1;
    rounds_pool(r);
    while (rounds_next(r)) {
        unsigned long long misuses = atomic_load(&r->misuses), gone = atomic_load(&r->destroys);
        h21.dies = r->round % 2;
        (void)rounds_get(r, "a", &h21.held);
        rounds_race(r);
        misuses = atomic_load(&r->misuses) - misuses;
        ROUNDS_EXPECT(r, misuses == 1, "%llu were told", misuses);
        gone = atomic_load(&r->destroys) - gone;
        ROUNDS_EXPECT(r, gone == h21.dies, "%llu destroyed", gone);
        rounds_has(r, "a", 1);
    }
    rounds_end(r);
}

/* ---- H22: a key dropped while a getter registers on it --------------------------------------- */

struct town {
    char letter; /* first, where the driver looks for the key's letter */
    char *name;
};

static struct h22 { atomic_ullong copied, dropped, asked; } h22;

static uint64_t town_hash(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return ((uint64_t)((const struct town *)key)->letter + seed) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool town_equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return strcmp(((const struct town *)a)->name, ((const struct town *)b)->name) == 0;
}

static int town_copy(const void *from, void *to, void *ctx)
{
    struct town *copy = to;

    (void)ctx;
    *copy = *(const struct town *)from;
    copy->name = strdup(copy->name);
    if (!copy->name) return -1;
    atomic_fetch_add(&h22.copied, 1);
    return 0;
}

static void town_drop(void *copied, void *ctx)
{
    (void)ctx;
    free(((struct town *)copied)->name);
    atomic_fetch_add(&h22.dropped, 1);
}

static void town_limits(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    atomic_fetch_add(&h22.asked, 1);
    limits->max_live = 2;
}

static void h22_play(struct rounds *r, unsigned who)
{
    for (int i = 0; i < 4; i++) {
        char name[2] = { *names[rounds_roll(2)], '\0' };
        struct town town = { *name, name };
        kp_ask ask = { .within_ms = ROUNDS_LONG_MS };
        kp_lease lease;
        int rc = kp_get(r->pool, KP_KEY(&town), &ask, &lease);
        rounds_answered(r, name, rc, &lease);
        ROUNDS_EXPECT(r, rc == 0, "%d", rc);
        if (rc) continue;
        rounds_discard(r, &lease);
        if (rounds_roll(3) == 0) (void)kp_invalidate_key(r->pool, KP_KEY(&town));
        if (who == 0) (void)kp_keep(r->pool);
    }
}

static void H22_keys_that_come_and_go_lose_no_request_and_no_copy(void **state)
{
    struct rounds *r = rounds_open("H22", 8, h22_play, NULL);

    (void)state;
    r->options.key_type = (kp_key_type){ .size = sizeof(struct town), .hash = town_hash,
                                         .equal = town_equal, .copy = town_copy,
                                         .drop = town_drop };
    r->options.limits_for = town_limits;
    r->options.forget_key_after_ms = KP_NONE;
    rounds_pool(r);
    while (rounds_next(r)) {
        kp_stats s;
        rounds_race(r);
        (void)kp_keep(r->pool);
        s = rounds_rest(r);
        ROUNDS_EXPECT(r, s.keys == 0 && s.live == 0, "%llu keys", (unsigned long long)s.keys);
        ROUNDS_EXPECT(r, s.keys_made == s.keys_forgotten && s.keys_made == atomic_load(&h22.asked),
                      "%llu keys made", (unsigned long long)s.keys_made);
        ROUNDS_EXPECT(r, atomic_load(&h22.copied) == atomic_load(&h22.dropped), "%llu copied",
                      atomic_load(&h22.copied));
    }
    rounds_end(r);
}

/* ---- H23: limits changed under load ---------------------------------------------------------- */

static struct h23 { unsigned what; kp_lease held[2]; } h23;

static void h23_limit(struct rounds *r, kp_key key, int64_t max)
{
    int rc = kp_limits_set(r->pool, key, &(kp_limits){ .max_live = max }, NULL);

    ROUNDS_EXPECT(r, rc == 0, "%d", rc);
}

static void h23_play(struct rounds *r, unsigned who)
{
    switch (h23.what) {
    case 0: /* from no limit to one, for every key, while others get */
        if (who == 0) h23_limit(r, KP_EVERY_KEY, 1);
        else (void)rounds_visit(r, names[who % 2], false);
        break;
    case 1: /* from two to one, while both are given back */
        if (who == 0) h23_limit(r, kp_str("a"), 1);
        else if (who < 3) rounds_release(r, &h23.held[who - 1]);
        break;
    case 2: /* to zero and to one again, while they are given back and others get */
        if (who == 0) h23_limit(r, kp_str("a"), KP_NONE);
        if (who == 0) h23_limit(r, kp_str("a"), 1);
        else if (who < 3) rounds_release(r, &h23.held[who - 1]);
        else (void)rounds_visit(r, "a", false);
        break;
    default: /* from four to one, while all create */
        if (who == 0) h23_limit(r, kp_str("a"), 1);
        else (void)rounds_visit(r, "a", false);
    }
}

static void H23_a_limit_that_changes_among_gets_and_returns_holds_at_once(void **state)
{
    struct rounds *r = rounds_open("H23", 5, h23_play, NULL);

    (void)state;
    while (rounds_next(r)) {
        static const int64_t at_first[] = { KP_NONE, 2, 2, 4 };
        kp_stats s;
        h23.what = r->round % 4;
        r->options.limits.max_live = at_first[h23.what];
        rounds_pool(r);
        for (int i = 0; (h23.what == 1 || h23.what == 2) && i < 2; i++)
            (void)rounds_get(r, "a", &h23.held[i]);
        if (h23.what == 3) (void)rounds_visit(r, "a", true); /* so that the key is there */
        rounds_race(r);
        s = rounds_rest(r);
        ROUNDS_EXPECT(r, h23.what == 2 ? s.live <= 1 : s.live == (h23.what ? 1 : 2), "%llu live",
                      (unsigned long long)s.live);
        rounds_has(r, "a", 1);
        ROUNDS_EXPECT(r, kp_try_get(r->pool, kp_str("a"), &h23.held[0]) == 0, "%s", "one");
        ROUNDS_EXPECT(r, kp_try_get(r->pool, kp_str("a"), &h23.held[1]) == KP_EAGAIN, "%s", "two");
        kp_release(&h23.held[0]);
        atomic_fetch_add(&r->yes, 1);
        atomic_fetch_add(&r->refusals, 1);
        rounds_close(r);
    }
    rounds_end(r);
}

/* ---- H24: the lost wake-up ------------------------------------------------------------------- */

enum { H24_EACH = 4 };

static kp_lease h24_held[H24_EACH];

static void h24_play(struct rounds *r, unsigned who)
{
    if (who < H24_EACH) rounds_release(r, &h24_held[who]);
    else (void)rounds_visit(r, "a", false);
}

static void H24_as_many_returns_as_requests_at_once_serve_all_of_them(void **state)
{
    struct rounds *r = rounds_open("H24", 2 * H24_EACH, h24_play, NULL);

    (void)state;
    r->options.limits.max_live = H24_EACH;
    rounds_pool(r);
    while (rounds_next(r)) {
        for (int i = 0; i < H24_EACH; i++) (void)rounds_get(r, "a", &h24_held[i]);
        rounds_race(r);
        rounds_has(r, "a", H24_EACH);
        ROUNDS_EXPECT(r, atomic_load(&r->creates) == H24_EACH, "%llu created",
                      atomic_load(&r->creates));
    }
    rounds_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H19_callbacks_that_fail_and_call_back_and_close_lose_nothing),
        cmocka_unit_test(H20_a_deadline_among_wakeups_ends_the_wait_when_it_comes),
        cmocka_unit_test(H21_a_stale_lease_ends_nothing_when_its_resource_is_lent_again),
        cmocka_unit_test(H22_keys_that_come_and_go_lose_no_request_and_no_copy),
        cmocka_unit_test(H23_a_limit_that_changes_among_gets_and_returns_holds_at_once),
        cmocka_unit_test(H24_as_many_returns_as_requests_at_once_serve_all_of_them),
    };
    return cmocka_run_group_tests_name("hard cases H19 to H24, on real threads", tests, NULL, NULL);
}
