/* SPDX-License-Identifier: MIT
 *
 * A hard case as a race on real threads. A crew of threads begins each round together, each thread
 * after a random pause of at most a microsecond or so. After the round the counts of the driver, of
 * the callers and of the pool are checked. In the words of the catalogue of behaviours:
 *
 *     I1 what was created is destroyed once      I6 a deadline ends a wait, soon
 *     I2 one user at a time, none of a dead one  I7 no callback runs under a lock
 *     I3 no limit is ever exceeded               I8 nothing succeeds after close, nothing is left
 *     I4 after a failure all counts are back     I9 memory has a bound
 *     I5 whoever can be served is served         I10 every snapshot adds up
 *
 * Nothing sleeps: a thread that must wait for something in a round looks for it again and again.
 * KP_ROUNDS (400; 10000 in `make torture`) is the number of rounds of a case. KP_SEED (from the
 * clock; printed) determines the pauses and choices of each round. A round that hangs ends the
 * program by SIGALRM.
 */
#ifndef KP_TESTS_ROUNDS_H
#define KP_TESTS_ROUNDS_H

#include "rounds_cast.h"

/* ---- borrowing ------------------------------------------------------------------------------- */

static KP_MAYBE_UNUSED void rounds_take(struct rounds *r, const char *key, const kp_lease *lease)
{
    struct rounds_item *item = lease->resource;
    /* relaxed, all: it is the pool that has to order them */
    unsigned users = atomic_fetch_add_explicit(&item->users, 1, memory_order_relaxed);

    ROUNDS_EXPECT(r, users == 0, "lent to %u", users + 1);
    ROUNDS_EXPECT(r, atomic_load_explicit(&item->alive, memory_order_relaxed) == 1, "lent dead");
    ROUNDS_EXPECT(r, item->key == *key, "of key %c, not %c", item->key, *key);
    item->uses++;
}

/* Count an answer, and look at what was lent. */
static KP_MAYBE_UNUSED void rounds_answered(struct rounds *r, const char *key, int rc,
                                            const kp_lease *lease)
{
    atomic_fetch_add(rc == 0 ? &r->yes : rc == KP_ETIMEDOUT ? &r->timeouts : &r->refusals, 1);
    if (rc == 0) rounds_take(r, key, lease);
    else ROUNDS_EXPECT(r, lease->resource == NULL && !lease->opaque[0], "%d, and a lease", rc);
}

static KP_MAYBE_UNUSED int rounds_ask(struct rounds *r, const char *key, const kp_ask *ask,
                                      kp_lease *lease)
{
    int rc = kp_get(r->pool, kp_str(key), ask, lease);

    rounds_answered(r, key, rc, lease);
    return rc;
}

/* Gets; nothing is in the way for ever, so it must be served. */
static KP_MAYBE_UNUSED int rounds_get(struct rounds *r, const char *key, kp_lease *lease)
{
    kp_ask ask = { .within_ms = ROUNDS_LONG_MS, .tag = "rounds" };
    int rc = rounds_ask(r, key, &ask, lease);

    ROUNDS_EXPECT(r, rc == 0, "a get of key %s ends with %d", key, rc);
    return rc;
}

static KP_MAYBE_UNUSED void rounds_let_go(struct rounds *r, const kp_lease *lease)
{
    struct rounds_item *item = lease->resource;
    unsigned users;

    item->uses++;
    users = atomic_fetch_sub_explicit(&item->users, 1, memory_order_relaxed);
    ROUNDS_EXPECT(r, users == 1, "%u had it", users);
}

static KP_MAYBE_UNUSED void rounds_release(struct rounds *r, kp_lease *lease)
{
    rounds_let_go(r, lease);
    kp_release(lease);
    ROUNDS_EXPECT(r, lease->resource == NULL, "%s", "released");
}

static KP_MAYBE_UNUSED void rounds_discard(struct rounds *r, kp_lease *lease)
{
    rounds_let_go(r, lease);
    kp_discard(lease);
    ROUNDS_EXPECT(r, lease->resource == NULL, "%s", "discarded");
}

/* Get it and give it back, at once or nearly so. */
static KP_MAYBE_UNUSED int rounds_visit(struct rounds *r, const char *key, bool discards)
{
    kp_lease lease;
    int rc = rounds_get(r, key, &lease);

    if (rc) return rc;
    rounds_pause(500);
    if (discards) rounds_discard(r, &lease);
    else rounds_release(r, &lease);
    return 0;
}

/* Have `count` requests waited at some moment of this round? Also true if the pool is closed. */
static KP_MAYBE_UNUSED bool rounds_queued(struct rounds *r, uint64_t count)
{
    kp_stats s;

    if (kp_stats_read(r->pool, KP_EVERY_KEY, &s) || s.waiting >= count)
        atomic_store(&r->queued, true);
    return atomic_load(&r->queued);
}

/* ---- the pool -------------------------------------------------------------------------------- */

static KP_MAYBE_UNUSED void rounds_forget_counts(struct rounds *r)
{
    atomic_ullong *counts[] = { &r->creates, &r->create_failures, &r->destroys,
                                &r->destroy_failures, &r->yes, &r->timeouts, &r->refusals,
                                &r->misuses, &r->live.now, &r->live.most };

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) atomic_store(counts[i], 0);
    for (int i = 0; i < ROUNDS_KEYS; i++) {
        atomic_store(&r->live_of[i].now, 0);
        atomic_store(&r->live_of[i].most, 0);
    }
}

static KP_MAYBE_UNUSED void rounds_pool(struct rounds *r)
{
    kp_why why = { 0 };
    int rc;

    rounds_forget_counts(r);
    r->options.why = &why;
    rc = kp_pool_open(&r->options, &r->pool);
    if (rc) fail_msg("%s: %s: %s %s", r->name, kp_strerror(rc), why.field, why.text);
    r->options.why = NULL;
}

struct rounds_sum { uint64_t keys, live, idle, lent; };

static KP_MAYBE_UNUSED int rounds_add_key(kp_key key, const kp_stats *s, void *arg)
{
    struct rounds_sum *sum = arg;

    (void)key;
    sum->keys++;
    sum->live += s->live;
    sum->idle += s->idle;
    sum->lent += s->lent;
    return s->live == s->creating + s->idle + s->lent + s->closing ? 0 : -1;
}

/* I3, as the driver saw it. */
static KP_MAYBE_UNUSED void rounds_check_limits(struct rounds *r)
{
    int64_t all = r->options.budget.max_live, key = r->options.limits.max_live;

    if (all > 0)
        ROUNDS_EXPECT(r, atomic_load(&r->live.most) <= (uint64_t)all, "%llu were live",
                      atomic_load(&r->live.most));
    for (int i = 0; key > 0 && i < ROUNDS_KEYS; i++)
        ROUNDS_EXPECT(r, atomic_load(&r->live_of[i].most) <= (uint64_t)key,
                      "%llu of key %c were live", atomic_load(&r->live_of[i].most), 'a' + i);
}

/* I1-I4, I9 and I10 of an open pool that no call is using. */
static KP_MAYBE_UNUSED kp_stats rounds_rest(struct rounds *r)
{
    kp_stats s;
    struct rounds_sum sum = { 0 };
    int rc = kp_stats_read(r->pool, KP_EVERY_KEY, &s);

    ROUNDS_EXPECT(r, rc == 0, "stats answer %d", rc);
    ROUNDS_EXPECT(r, kp_each_key(r->pool, rounds_add_key, &sum) == 0, "%s",
                  "a key does not add up");
    ROUNDS_EXPECT(r, sum.keys == s.keys && sum.live == s.live && sum.idle == s.idle &&
                     sum.lent == s.lent, "of %llu keys", (unsigned long long)s.keys);
    ROUNDS_EXPECT(r, s.live == s.idle, "%llu live", (unsigned long long)s.live);
    ROUNDS_EXPECT(r, !s.creating && !s.lent && !s.closing && !s.leases, "%llu creating",
                  (unsigned long long)s.creating);
    ROUNDS_EXPECT(r, s.waiting == 0, "%llu wait", (unsigned long long)s.waiting);
    ROUNDS_EXPECT(r, s.live == atomic_load(&r->live.now), "the driver has %llu, the pool %llu",
                  atomic_load(&r->live.now), (unsigned long long)s.live);
    ROUNDS_EXPECT(r, s.creates == atomic_load(&r->creates) &&
                     s.create_failures == atomic_load(&r->create_failures) &&
                     s.destroys == atomic_load(&r->destroys) &&
                     s.destroy_failures == atomic_load(&r->destroy_failures),
                  "%llu creates, %llu destroys", (unsigned long long)s.creates,
                  (unsigned long long)s.destroys);
    ROUNDS_EXPECT(r, s.gets == atomic_load(&r->yes) && s.timeouts == atomic_load(&r->timeouts) &&
                     s.refusals == atomic_load(&r->refusals), "%llu gets, %llu of them yes",
                  (unsigned long long)s.gets, atomic_load(&r->yes));
    ROUNDS_EXPECT(r, s.misuses == atomic_load(&r->misuses), "%llu misuses",
                  (unsigned long long)s.misuses);
    ROUNDS_EXPECT(r, atomic_load(&r->bytes) <= ROUNDS_BYTES, "%llu bytes",
                  atomic_load(&r->bytes));
    rounds_check_limits(r);
    rounds_judge(r);
    return s;
}

/* I4 and I5: `count` can be borrowed at once, without a wait. Nothing was lost. */
static KP_MAYBE_UNUSED void rounds_has(struct rounds *r, const char *key, unsigned count)
{
    kp_stats before = rounds_rest(r), after;
    kp_lease lease[32];

    for (unsigned i = 0; i < count; i++) (void)rounds_get(r, key, &lease[i]);
    rounds_judge(r);
    for (unsigned i = 0; i < count; i++) rounds_release(r, &lease[i]);
    after = rounds_rest(r);
    ROUNDS_EXPECT(r, after.waits == before.waits, "%llu waited",
                  (unsigned long long)(after.waits - before.waits));
    rounds_judge(r);
}

/* I1, I8 and I9 of a pool that is closed, or closing and not used by any call. */
static KP_MAYBE_UNUSED void rounds_gone(struct rounds *r)
{
    kp_lease lease;
    int rc = kp_get(r->pool, kp_str("a"), NULL, &lease);

    ROUNDS_EXPECT(r, rc == KP_ECLOSED, "a get on a closed pool answers %d", rc);
    ROUNDS_EXPECT(r, !kp_is_pool(r->pool), "%s", "closed");
    ROUNDS_EXPECT(r, atomic_load(&r->creates) == atomic_load(&r->destroys), "%llu and %llu",
                  atomic_load(&r->creates), atomic_load(&r->destroys));
    ROUNDS_EXPECT(r, atomic_load(&r->live.now) == 0, "%llu live", atomic_load(&r->live.now));
    ROUNDS_EXPECT(r, atomic_load(&r->bytes) == 0, "%llu bytes are left", atomic_load(&r->bytes));
    rounds_check_limits(r);
    rounds_judge(r);
    r->pool = NULL;
}

static KP_MAYBE_UNUSED void rounds_close(struct rounds *r)
{
    int64_t out;

    (void)rounds_rest(r);
    out = kp_pool_close(r->pool, KP_CLOSE_NOW, ROUNDS_LONG_MS);
    ROUNDS_EXPECT(r, out == 0, "%lld were out", (long long)out);
    rounds_gone(r);
}

/* ---- the crew -------------------------------------------------------------------------------- */

struct rounds_member { struct rounds *r; unsigned who; };

/* Each thread of the crew gets a processor of its own, as far as there are enough. Otherwise
 * threads stay on the processor of the thread that woke them, and run one after the other. */
static KP_MAYBE_UNUSED void rounds_spread(pthread_t thread, unsigned who)
{
#ifdef CPU_SET
    cpu_set_t ours, one;
    unsigned nth;

    if (pthread_getaffinity_np(pthread_self(), sizeof ours, &ours)) return;
    nth = who % (unsigned)CPU_COUNT(&ours);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &ours) || nth-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(thread, sizeof one, &one);
        return;
    }
#else
    (void)thread;
    (void)who;
#endif
}

/* All begin at the same time, which the last thread to arrive sets: on some machines, seeing that a
 * thread has arrived takes longer than the race itself. */
static KP_MAYBE_UNUSED void rounds_meet(struct rounds *r)
{
    if (atomic_fetch_add(&r->arrived, 1) + 1 == r->crew)
        atomic_store(&r->begin_ns, rounds_ns() + 3000);
    ROUNDS_AWAIT(atomic_load(&r->begin_ns));
    rounds_spin_until(atomic_load(&r->begin_ns));
}

static KP_MAYBE_UNUSED void *rounds_member_run(void *arg)
{
    struct rounds_member m = *(struct rounds_member *)arg;
    struct rounds *r = m.r;

    free(arg);
    for (;;) {
        pthread_barrier_wait(&r->gate);
        if (r->over) return NULL;
        unsigned role = r->cast ? m.who : (m.who + r->turn) % r->crew;
        rounds_reseed(r, role);
        rounds_meet(r);
        rounds_pause(r->apart_ns);
        r->play(r, role);
        pthread_barrier_wait(&r->gate);
    }
}

/* A race of `crew` threads; the case fills in the options of the pool. */
static KP_MAYBE_UNUSED struct rounds *rounds_open(const char *name, unsigned crew,
                                                  void (*play)(struct rounds *r, unsigned who),
                                                  const char *const *tallies)
{
    struct rounds *r = calloc(1, sizeof *r);
    const char *rounds = getenv("KP_ROUNDS"), *seed = getenv("KP_SEED");

    if (!r) abort();
    r->name = name;
    r->wanted = rounds && *rounds ? (unsigned)strtoul(rounds, NULL, 0) : 400;
    r->seed = seed && *seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
    r->crew = crew;
    r->play = play;
    r->tallies = tallies;
    r->apart_ns = 1500;
    r->world = (kp_world){ .alloc = rounds_alloc, .free = rounds_free, .ctx = r };
    r->options.name = name;
    r->options.driver = (kp_driver){ .create = rounds_create, .destroy = rounds_destroy, .ctx = r };
    r->options.on_event = rounds_on_event;
    r->options.ctx = r;
    r->options.world = &r->world;
    r->options.threads = KP_NONE;
    r->options.limits.retry_first_ms = KP_NONE;
    r->options.limits.max_creating = KP_UNLIMITED;
    print_message("%s: %u rounds, KP_SEED=%llu\n", name, r->wanted, (unsigned long long)r->seed);
    assert_int_equal(pthread_barrier_init(&r->gate, NULL, crew + 1), 0);
    for (unsigned i = 0; i < crew; i++) {
        struct rounds_member *m = malloc(sizeof *m);
        if (!m) abort();
        *m = (struct rounds_member){ r, i };
        assert_int_equal(pthread_create(&r->thread[i], NULL, rounds_member_run, m), 0);
        rounds_spread(r->thread[i], i);
    }
    return r;
}

static KP_MAYBE_UNUSED bool rounds_next(struct rounds *r)
{
    if (r->round == r->wanted) return false;
    r->round++;
    rounds_reseed(r, ROUNDS_CREW);
    alarm(ROUNDS_HANG_S);
    return true;
}

/* One round: all begin at once; returns when all are through. */
static KP_MAYBE_UNUSED void rounds_race(struct rounds *r)
{
    r->turn = (unsigned)rounds_roll(r->crew);
    atomic_store(&r->arrived, 0);
    atomic_store(&r->begin_ns, 0);
    atomic_store(&r->queued, false);
    pthread_barrier_wait(&r->gate);
    pthread_barrier_wait(&r->gate);
    rounds_judge(r);
}

static KP_MAYBE_UNUSED void rounds_end(struct rounds *r)
{
    char text[200] = "";

    if (r->pool) rounds_close(r);
    r->over = true;
    pthread_barrier_wait(&r->gate);
    for (unsigned i = 0; i < r->crew; i++) pthread_join(r->thread[i], NULL);
    pthread_barrier_destroy(&r->gate);
    alarm(0);
    for (size_t i = 0, n = 0; r->tallies && r->tallies[i] && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%u %s", i ? ", " : "",
                              atomic_load(&r->tally[i]), r->tallies[i]);
    if (r->tallies) print_message("%s: %s\n", r->name, text);
    free(r);
}

#endif
