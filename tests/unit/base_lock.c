/* SPDX-License-Identifier: MIT
 *
 * Tests of base/lock.h: an uncontended lock makes no system call (L9). Besides the real world they
 * use one that passes everything on to it and counts, so that a test can wait until a thread is
 * about to sleep. cmocka's assertions are for the main thread only.
 */
#include "base_kit.h"

#include "base/lock.h"

#include <pthread.h>
#include <sched.h>

/* ---- a world that counts --------------------------------------------------------------------- */

struct counts {
    atomic_int parks, wakes;
};

static void counting_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    struct counts *c = ctx;

    atomic_fetch_add(&c->parks, 1);
    kp__life.park(word, while_it_is, until_ns, NULL);
}

static void counting_wake(uint32_t *word, int how_many, void *ctx)
{
    struct counts *c = ctx;

    atomic_fetch_add(&c->wakes, 1);
    kp__life.wake(word, how_many, NULL);
}

static struct kp__world counting(struct counts *c)
{
    struct kp__world w = kp__life;

    w.park = counting_park;
    w.wake = counting_wake;
    w.ctx = c;
    return w;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_lock_must_be_held_from_take_to_give(void **state)
{
    struct kp__lock l = { 0 };

    (void)state;
    assert_false(kp__lock_held(&l));
    kp__lock_take(&l, &kp__life);
    assert_true(kp__lock_held(&l));
    kp__lock_give(&l, &kp__life);
    assert_false(kp__lock_held(&l));
}

static void a_lock_nobody_wants_must_neither_park_nor_wake(void **state)
{
    struct kp__lock l = { 0 };
    struct counts c = { 0 };
    struct kp__world w = counting(&c);

    (void)state;
    for (int i = 0; i < 100; i++) {
        kp__lock_take(&l, &w);
        kp__lock_give(&l, &w);
    }
    assert_int_equal(c.parks, 0);
    assert_int_equal(c.wakes, 0);
}

struct sleeper {
    struct kp__lock lock;
    struct kp__world world;
    struct counts counts;
    int through;                        /* guard: lock */
};

static void *sleep_on_lock(void *arg)
{
    struct sleeper *s = arg;

    kp__lock_take(&s->lock, &s->world);
    s->through++;
    kp__lock_give(&s->lock, &s->world);
    return NULL;
}

static void every_sleeper_must_get_the_lock_after_it_is_given(void **state)
{
    enum { SLEEPERS = 4 };
    struct sleeper s = { .through = 0 };
    pthread_t thread[SLEEPERS];

    (void)state;
    s.world = counting(&s.counts);
    kp__lock_take(&s.lock, &s.world);
    for (int i = 0; i < SLEEPERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, sleep_on_lock, &s), 0);
    while (atomic_load(&s.counts.parks) < SLEEPERS)
        sched_yield();
    assert_int_equal(s.through, 0);
    kp__lock_give(&s.lock, &s.world);
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(s.through, SLEEPERS);
    assert_false(kp__lock_held(&s.lock));
    assert_true(atomic_load(&s.counts.wakes) >= SLEEPERS);
}

struct crowd {
    struct kp__lock lock;
    int rounds;
    int inside;                         /* guard: lock; plain, for TSan to see it fail */
    int overlaps;                       /* guard: lock */
    uint64_t sum;                       /* guard: lock */
};

static void *enter_often(void *arg)
{
    struct crowd *c = arg;

    for (int i = 0; i < c->rounds; i++) {
        kp__lock_take(&c->lock, &kp__life);
        c->overlaps += c->inside++ != 0;
        c->sum++;
        if (i % 64 == 0)
            sched_yield();              /* now and then for long enough that others go to sleep */
        c->inside--;
        kp__lock_give(&c->lock, &kp__life);
    }
    return NULL;
}

static void only_one_thread_may_hold_a_lock(void **state)
{
    enum { THREADS = 4, ROUNDS = 20000 };
    struct crowd c = { .rounds = ROUNDS };
    pthread_t thread[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, enter_often, &c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(c.overlaps, 0);
    assert_int_equal(c.sum, THREADS * ROUNDS);
    assert_false(kp__lock_held(&c.lock));
}

struct shared {
    struct kp__lock lock;
    struct kp__world world;             /* goes away with the lock */
    int users;                          /* guard: lock */
};

/* A park may return early. This one always does, so that its caller takes the lock in the very
 * moment it is given, and frees it while the giver may still be on its way to wake. A giver that
 * looks back at lock or world is a race in the eyes of TSan, however rarely it would be hit. */
static void restless_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    atomic_int *parks = ctx;

    (void)word;
    (void)while_it_is;
    (void)until_ns;
    atomic_fetch_add(parks, 1);
}

static void give_up(struct shared *s)
{
    bool last = --s->users == 0;

    kp__lock_give(&s->lock, &s->world);
    if (last)
        free(s);
}

static void *take_and_give_up(void *arg)
{
    struct shared *s = arg;

    kp__lock_take(&s->lock, &s->world);
    give_up(s);
    return NULL;
}

static void the_last_holder_may_free_the_lock_and_its_world(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        struct shared *s = calloc(1, sizeof *s);
        atomic_int parks = 0;
        pthread_t other;

        assert_non_null(s);
        s->world = kp__life;
        s->world.park = restless_park;
        s->world.ctx = &parks;
        s->users = 2;
        kp__lock_take(&s->lock, &s->world);
        assert_int_equal(pthread_create(&other, NULL, take_and_give_up, s), 0);
        while (atomic_load(&parks) == 0)
            sched_yield();
        give_up(s);
        pthread_join(other, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_must_be_held_from_take_to_give),
        cmocka_unit_test(a_lock_nobody_wants_must_neither_park_nor_wake),
        cmocka_unit_test(every_sleeper_must_get_the_lock_after_it_is_given),
        cmocka_unit_test(only_one_thread_may_hold_a_lock),
        cmocka_unit_test(the_last_holder_may_free_the_lock_and_its_world),
    };

    return cmocka_run_group_tests_name("base/lock", tests, NULL, NULL);
}
