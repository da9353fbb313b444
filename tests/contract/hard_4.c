/* SPDX-License-Identifier: MIT
 *
 * The hard cases H19 and H22: callbacks that fail, call back, close the pool or block; keys
 * that are dropped while requests register on them.
 */
#include "house.h"

#include <stdlib.h>

/* ---- H19: callbacks that call back ---- */

enum where { IN_CREATE = 1, IN_VALIDATE, IN_RESET, IN_DESTROY, IN_EVENT, IN_LIMITS, WHERES };

/* A driver that meddles with its own pool, in one kind of callback. One sim, so no two of these run
 * at once. */
static struct meddler {
    struct house *h;
    enum where where;
    kp_close_mode closes; /* 0: it gets and gives back instead */
    int depth, meddled;
    unsigned made, unmade;
} meddler;

static void get_and_give_back(kp_pool *pool, const char *key, uint32_t flags)
{
    kp_lease lease;
    kp_ask ask = { 10, { 0 }, "meddler", NULL, flags, 0, { 0, 0, 0 } };
    if (kp_get(pool, kp_str(key), &ask, &lease) == 0) kp_release(&lease);
}

static void meddle(enum where where, kp_pool *pool)
{
    struct meddler *m = &meddler;
    kp_stats s;
    kp_lease lease;
    char text[256];
    if (m->where != where || m->depth || (m->closes && m->meddled)) return;
    m->depth++;
    m->meddled++;
    if (m->closes) {
        (void)kp_pool_close(pool, m->closes, 10);
    } else {
        (void)kp_stats_read(pool, KP_EVERY_KEY, &s);
        (void)kp_explain(pool, KP_EVERY_KEY, text, sizeof text);
        (void)kp_invalidate(pool, &s);
        get_and_give_back(pool, "other", 0);
        get_and_give_back(pool, "a", KP_DONT_WAIT);
        get_and_give_back(pool, "a", 0);
        if (kp_try_get(pool, kp_str("other"), &lease) == 0) kp_discard(&lease);
    }
    m->depth--;
}

static int meddling_create(kp_job *job, void **resource)
{
    meddle(IN_CREATE, job->pool);
    meddler.made++;
    *resource = malloc(1);
    return *resource ? 0 : -1;
}

static int meddling_destroy(kp_job *job, void *resource)
{
    meddle(IN_DESTROY, job->pool);
    meddler.unmade++;
    free(resource);
    return 0;
}

static int meddling_validate(kp_job *job, void *resource)
{
    (void)resource;
    meddle(IN_VALIDATE, job->pool);
    return 0;
}

static int meddling_reset(kp_job *job, void *resource)
{
    (void)resource;
    meddle(IN_RESET, job->pool);
    return 0;
}

static void meddling_event(const kp_event *event, void *ctx)
{
    (void)ctx;
    meddle(IN_EVENT, event->pool);
}

static void meddling_limits(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)limits;
    (void)ctx;
    meddle(IN_LIMITS, meddler.h->pool);
}

static void meddler_enters(struct house *h, enum where where, kp_close_mode closes)
{
    kp_options o = house_plan(h, 1, "commons", NULL);
    meddler = (struct meddler){ .h = h, .where = where, .closes = closes };
    o.driver.create = meddling_create;
    o.driver.destroy = meddling_destroy;
    o.driver.validate = meddling_validate;
    o.driver.reset = meddling_reset;
    o.driver.ctx = NULL;
    o.limits_for = meddling_limits;
    o.on_event = meddling_event;
    o.limits.max_live = 3;
    assert_int_equal(kp_pool_open(&o, &h->pool), 0);
}

/* Each kind of callback has its turn in this: a create, a release, a get of an idle one, a discard.
 */
static void lives_with_meddler(struct house *h)
{
    kp_lease lease;
    int i;
    for (i = 0; i < 2; i++) {
        int rc = kp_get(h->pool, kp_str("a"), KP_IN_MS(1000), &lease);
        if (!meddler.closes) HOUSE_IS(h, rc, 0);
        HOUSE_HAS(h, rc == 0 || rc == KP_ECLOSED);
        if (rc == 0 && i) kp_discard(&lease);
        if (rc == 0 && !i) kp_release(&lease);
        kp_sim_pass_ms(h->sim, 1);
    }
}

static void meddler_leaves(struct house *h)
{
    int64_t out = kp_pool_close(h->pool, KP_CLOSE_WAIT, 1000);
    HOUSE_IS(h, out, 0);
    HOUSE_HAS(h, meddler.meddled > 0);
    HOUSE_HAS(h, meddler.made > 0 || meddler.closes);
    HOUSE_IS(h, meddler.unmade, meddler.made);
    house_leave(h);
}

/* H19 (b), B-CB-13 */
static void H19_every_callback_must_be_free_to_call_the_pool(void **state)
{
    int where;
    (void)state;
    for (where = IN_CREATE; where < WHERES; where++) {
        struct house h;
        kp_stats s;
        meddler_enters(&h, (enum where)where, 0);
        lives_with_meddler(&h);
        assert_int_equal(kp_stats_read(h.pool, KP_EVERY_KEY, &s), 0);
        HOUSE_IS(&h, s.lent + s.creating + s.closing + s.waiting, 0);
        HOUSE_IS(&h, s.live, meddler.made - meddler.unmade);
        HOUSE_IS(&h, s.misuses, 0);
        meddler_leaves(&h);
    }
}

/* H19 (c): and to close it. With WAIT it waits for its own caller, until the deadline. */
static void H19_every_callback_must_be_free_to_close_the_pool(void **state)
{
    static const kp_close_mode modes[] = { KP_CLOSE_NOW, KP_CLOSE_WAIT, KP_CLOSE_DRAIN };
    int where, mode;
    (void)state;
    for (where = IN_CREATE; where < WHERES; where++) {
        for (mode = 0; mode < 3; mode++) {
            struct house h;
            meddler_enters(&h, (enum where)where, modes[mode]);
            lives_with_meddler(&h);
            HOUSE_HAS(&h, !kp_is_pool(h.pool));
            meddler_leaves(&h);
        }
    }
}

/* H19 (d), B-CB-08: create, destroy, validate, reset block at a gate while another task uses
 * another key */
static void H19_a_callback_that_blocks_must_hold_up_no_other_key(void **state)
{
    static kp_gate gate;
    static const kp_line slow[] = { { .gate = &gate }, { 0 } };
    int kind;
    (void)state;
    for (kind = KP_JOB_CREATE; kind <= KP_JOB_DESTROY; kind++) {
        const kp_script script = { .create = kind == KP_JOB_CREATE ? slow : NULL,
                                   .validate = kind == KP_JOB_VALIDATE ? slow : NULL,
                                   .reset = kind == KP_JOB_RESET ? slow : NULL,
                                   .destroy = kind == KP_JOB_DESTROY ? slow : NULL };
        struct visitor first = { .stay_ms = KP_NONE },
                       second = { .stay_ms = KP_NONE, .discards = true };
        struct house h;
        kp_lease lease;
        int i;
        kp_options o = house_plan(&h, 1, "commons", &script);
        gate = (kp_gate){ 0 };
        house_open(&h, &o);
        visitor_send(&h, &first, "a", 0);
        visitor_send(&h, &second, "a", 0);
        HOUSE_IS(&h, gate.entered, 1);
        for (i = 0; i < 10; i++) {
            lease = house_get(&h, "b");
            if (i % 2)
                house_discard(&h, &lease);
            else
                house_release(&h, &lease);
        }
        HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
        kp_gate_open(h.sim, &gate);
        kp_sim_join(h.sim, 0);
        HOUSE_IS(&h, first.rc + second.rc, 0);
        house_close(&h);
    }
}

static void nonsense(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    if (key.size == 3) limits->min_live = limits->max_live + 1;
}

/* H19 (a): a size function that is wrong */
static void H19_limits_that_contradict_each_other_must_fail_the_get_and_leave_no_key(void **state)
{
    struct house h;
    kp_lease lease;
    kp_options o = house_plan(&h, 1, "commons", NULL);
    (void)state;
    o.limits_for = nonsense;
    house_open(&h, &o);
    HOUSE_IS(&h, house_fails(&h, "bad", 100), KP_ECONFIG);
    HOUSE_HAS(&h, strstr(h.why.field, "min_live") != NULL);
    HOUSE_IS(&h, kp_sim_now_ms(h.sim), 0);
    HOUSE_IS(&h, house_cast(&h).creates, 0);
    lease = house_get(&h, "well");
    house_release(&h, &lease);
    house_close(&h);
}

/* ---- H22: a key dropped while a getter registers on it ---- */

struct city {
    char *name;
    int number;
};

static struct books {
    int copied, dropped, asked;
    unsigned served, failed;
} books;

static uint64_t city_hash(const void *key, uint64_t seed, void *ctx)
{
    (void)ctx;
    return ((uint64_t)((const struct city *)key)->number + seed) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool city_equal(const void *a, const void *b, void *ctx)
{
    (void)ctx;
    return !strcmp(((const struct city *)a)->name, ((const struct city *)b)->name);
}

static int city_copy(const void *from, void *to, void *ctx)
{
    struct city *copy = to;
    (void)ctx;
    *copy = *(const struct city *)from;
    copy->name = strdup(copy->name);
    if (!copy->name) return -1;
    books.copied++;
    return 0;
}

static void city_drop(void *copied, void *ctx)
{
    (void)ctx;
    free(((struct city *)copied)->name);
    books.dropped++;
}

static size_t city_text(const void *key, char *buf, size_t size, void *ctx)
{
    int n = snprintf(buf, size, "%s", ((const struct city *)key)->name);
    (void)ctx;
    return n < 0 ? 0 : (size_t)n;
}

static void asked(kp_key key, kp_limits *limits, void *ctx)
{
    (void)key;
    (void)ctx;
    books.asked++;
    limits->max_live = 2;
}

struct tourist {
    struct house *h;
    uint64_t dice;
    unsigned rounds, cities;
    int task;
};

static unsigned tourist_throws(struct tourist *t)
{
    t->dice = t->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(t->dice >> 33);
}

static void travels(void *arg)
{
    struct tourist *t = arg;
    kp_pool *pool = t->h->pool;
    char name[16];
    struct city city = { name, 0 };
    kp_lease lease;
    unsigned i;
    for (i = 0; i < t->rounds; i++) {
        city.number = (int)(tourist_throws(t) % t->cities);
        snprintf(name, sizeof name, "city %d", city.number);
        if (kp_get(pool, KP_KEY(&city), KP_ASK(.within_ms = KP_OFF), &lease)) {
            books.failed++;
            continue;
        }
        books.served++;
        if (tourist_throws(t) % 4 == 0) kp_sim_pass_ms(t->h->sim, 1);
        kp_discard(&lease);
        if (tourist_throws(t) % 4 == 0) (void)kp_invalidate_key(pool, KP_KEY(&city));
    }
}

static kp_options tours(struct house *h, uint64_t seed)
{
    kp_options o = house_plan(h, seed, "commons", NULL);
    memset(&books, 0, sizeof books);
    o.key_type = (kp_key_type){ .size = sizeof(struct city),
                                .hash = city_hash,
                                .equal = city_equal,
                                .copy = city_copy,
                                .drop = city_drop,
                                .text = city_text };
    o.limits_for = asked;
    return o;
}

/* H22, B-STRESS-07 (POOL-326), B-STRESS-06 */
static void H22_keys_that_come_and_go_must_lose_no_request_and_no_copy(void **state)
{
    static struct tourist t[250];
    uint64_t seed;
    unsigned i;
    (void)state;
    print_message("seeds 1 to 3\n");
    for (seed = 1; seed <= 3; seed++) {
        struct house h;
        kp_stats s;
        kp_options o = tours(&h, seed);
        o.forget_key_after_ms = KP_NONE;
        house_open(&h, &o);
        house_shuffle(&h, true);
        for (i = 0; i < 250; i++) {
            t[i] = (struct tourist){ &h, seed * 1000 + i, 4, 20, 0 };
            t[i].task = kp_sim_spawn(h.sim, travels, &t[i]);
        }
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        house_pass(&h, 10);
        HOUSE_IS(&h, books.served, 1000);
        HOUSE_IS(&h, books.failed, 0);
        s = house_stats(&h, NULL);
        HOUSE_IS(&h, s.keys, 0);
        HOUSE_IS(&h, s.live, 0);
        HOUSE_IS(&h, s.keys_made, s.keys_forgotten);
        HOUSE_IS(&h, books.dropped, books.copied);
        HOUSE_IS(&h, books.asked, s.keys_made);
        HOUSE_IS(&h, s.gets, 1000);
        house_close(&h);
    }
}

/* H22, B-CFG-22, B-CFG-06 */
static void H22_twenty_first_gets_of_one_key_must_ask_for_its_limits_once(void **state)
{
    static struct tourist t[20];
    uint64_t seed;
    unsigned i;
    (void)state;
    print_message("seeds 1 to 20\n");
    for (seed = 1; seed <= 20; seed++) {
        struct house h;
        kp_options o = tours(&h, seed);
        house_open(&h, &o);
        house_shuffle(&h, true);
        for (i = 0; i < 20; i++) {
            t[i] = (struct tourist){ &h, seed * 1000 + i, 5, 1, 0 };
            t[i].task = kp_sim_spawn(h.sim, travels, &t[i]);
        }
        kp_sim_join(h.sim, 0);
        house_shuffle(&h, false);
        HOUSE_IS(&h, books.asked, 1);
        HOUSE_IS(&h, books.served, 100);
        HOUSE_IS(&h, house_stats(&h, NULL).keys, 1);
        HOUSE_IS(&h, house_stats(&h, NULL).keys_made, 1);
        HOUSE_HAS(&h, house_cast(&h).most_live <= 2);
        house_close(&h);
        assert_int_equal(books.dropped, books.copied);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(H19_every_callback_must_be_free_to_call_the_pool),
        cmocka_unit_test(H19_every_callback_must_be_free_to_close_the_pool),
        cmocka_unit_test(H19_a_callback_that_blocks_must_hold_up_no_other_key),
        cmocka_unit_test(H19_limits_that_contradict_each_other_must_fail_the_get_and_leave_no_key),
        cmocka_unit_test(H22_keys_that_come_and_go_must_lose_no_request_and_no_copy),
        cmocka_unit_test(H22_twenty_first_gets_of_one_key_must_ask_for_its_limits_once),
    };
    return cmocka_run_group_tests_name("hard cases H19 and H22", tests, NULL, NULL);
}
