/* SPDX-License-Identifier: MIT
 *
 * The process's own two threads, for all pools of its world (kp__life). The keeper runs upkeep
 * (keeper.c), and with it functions of the user's, so that nobody knows how long that takes. The
 * other one only shuts lanes whose term is over (core/lane.h), and is never held up. Each is
 * started when the first pool opens that wants it, is named "keyedpool", blocks all signals, and
 * sleeps until the earliest time at which a pool wants it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/check.h"
#include "flow/fork.h"
#include "flow/upkeep.h"

/* One of the two threads. */
struct worker {
    struct kp__lock lock;
    struct kp__heap doors;  /* Guard: lock. Those that want it, the earliest first */
    bool started;           /* Guard: lock */
    _Atomic uint32_t rings; /* changes when an earlier time came in */
    size_t in_door;         /* constant: where in a door the kp__wanted is that says when */
    void (*run)(kp_pool *door);
};

static bool earlier(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp__wanted, node)->at < KP__OF(b, struct kp__wanted, node)->at;
}

static void keep(kp_pool *door)
{
    (void)kp_keep(door); /* tells when it is due next (kp__announce) */
}

static struct worker keeper = { .doors = { .before = earlier },
                               .in_door = offsetof(struct kp_pool, upkeep),
                               .run = keep };
static struct worker shutter = { .doors = { .before = earlier },
                                .in_door = offsetof(struct kp_pool, terms),
                                .run = kp__terms_end };

static struct kp__wanted *first(const struct worker *w)
{
    struct kp__heap_node *top = kp__heap_top(&w->doors);

    return top ? KP__OF(top, struct kp__wanted, node) : NULL;
}

static void want(struct worker *w, kp_pool *door, uint64_t at)
{
    struct kp__wanted *wanted = (struct kp__wanted *)(void *)((char *)door + w->in_door);

    kp__lock_take(&w->lock, &kp__life);
    if (kp__heap_holds(&wanted->node)) kp__heap_remove(&w->doors, &wanted->node);
    wanted->at = at;
    if (at != KP__NEVER) kp__heap_insert(&w->doors, &wanted->node);
    bool sooner = first(w) == wanted;
    if (sooner) atomic_fetch_add(&w->rings, 1);
    kp__lock_give(&w->lock, &kp__life);
    if (sooner) kp__life.wake((uint32_t *)&w->rings, 1, kp__life.ctx);
}

void kp__life_upkeep(kp_pool *door, uint64_t due_ns, void *ctx)
{
    (void)ctx;
    want(&keeper, door, due_ns);
}

void kp__life_terms(kp_pool *door, uint64_t due_ns)
{
    want(&shutter, door, due_ns);
}

static void *serve(void *arg)
{
    struct worker *w = arg;

    for (;;) {
        kp__lock_take(&w->lock, &kp__life);
        uint32_t heard = atomic_load(&w->rings);
        struct kp__wanted *wanted = first(w);
        uint64_t at = wanted ? wanted->at : KP__NEVER;
        bool due = wanted && at <= kp__now(&kp__life);
        if (due) kp__heap_remove(&w->doors, &wanted->node);
        kp__lock_give(&w->lock, &kp__life);
        if (due) w->run((kp_pool *)(void *)((char *)wanted - w->in_door));
        else kp__life.park((uint32_t *)&w->rings, heard, at, kp__life.ctx);
    }
    return NULL;
}

/* In a child of fork these threads do not exist, and what they held is the parent's. */
void kp__life_in_child(void)
{
    struct worker *all[] = { &keeper, &shutter };

    for (int i = 0; i < 2; i++) {
        atomic_store(&all[i]->lock.word, 0);
        kp__heap_init(&all[i]->doors, earlier);
        all[i]->started = false;
    }
}

int kp__thread_start(void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int failed;

    if (pthread_attr_init(&attr) != 0) return KP_ENOMEM;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attr, fn, arg);
#if defined(__linux__) && defined(_GNU_SOURCE)
    if (!failed) (void)pthread_setname_np(thread, "keyedpool");
#endif
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return failed ? KP_ENOMEM : 0;
}

static int start(struct worker *w)
{
    int code = 0;

    kp__lock_take(&w->lock, &kp__life);
    if (!w->started) code = kp__thread_start(serve, w);
    if (code == 0) w->started = true;
    kp__lock_give(&w->lock, &kp__life);
    return code;
}

int kp__life_keeper_start(void)
{
    return start(&keeper);
}

int kp__life_shutter_start(void)
{
    return start(&shutter);
}
