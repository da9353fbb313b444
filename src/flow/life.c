/* SPDX-License-Identifier: MIT
 *
 * The process's keeper: one thread for all pools that did not ask for another, started when the
 * first of them opens. It is called "keyedpool", blocks all signals, and sleeps until the earliest
 * of their due times. What it does then is in keeper.c.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/check.h"
#include "flow/flow.h"

static bool due_before(const struct kp__heap_node *a, const struct kp__heap_node *b)
{
    return KP__OF(a, struct kp_pool, keep)->keep_at < KP__OF(b, struct kp_pool, keep)->keep_at;
}

static struct kp__lock lock;
static struct kp__heap doors = { .before = due_before }; /* with something due. Guard: lock */
static bool started;                                     /* Guard: lock */
static _Atomic uint32_t rings; /* changes when an earlier due time came in */

static struct kp_pool *first_door(void)
{
    struct kp__heap_node *top = kp__heap_top(&doors);

    return top ? KP__OF(top, struct kp_pool, keep) : NULL;
}

void kp__life_upkeep(kp_pool *door, uint64_t due_ns, void *ctx)
{
    (void)ctx;
    kp__lock_take(&lock, &kp__life);
    if (kp__heap_holds(&door->keep)) kp__heap_remove(&doors, &door->keep);
    door->keep_at = due_ns;
    if (due_ns != KP__NEVER) kp__heap_insert(&doors, &door->keep);
    bool earlier = first_door() == door;
    if (earlier) atomic_fetch_add(&rings, 1);
    kp__lock_give(&lock, &kp__life);
    if (earlier) kp__life.wake((uint32_t *)&rings, 1, kp__life.ctx);
}

static void *keep(void *arg)
{
    (void)arg;
    for (;;) {
        kp__lock_take(&lock, &kp__life);
        uint32_t heard = atomic_load(&rings);
        struct kp_pool *door = first_door();
        uint64_t at = door ? door->keep_at : KP__NEVER;
        bool due = door && at <= kp__now(&kp__life);
        if (due) kp__heap_remove(&doors, &door->keep);
        kp__lock_give(&lock, &kp__life);
        if (due) (void)kp_keep(door); /* says itself when it is due next */
        else kp__life.park((uint32_t *)&rings, heard, at, kp__life.ctx);
    }
    return NULL;
}

/* In a child there is no keeper, and what the parent's held is not ours. */
void kp__life_in_child(void)
{
    atomic_store(&lock.word, 0);
    kp__heap_init(&doors, due_before);
    started = false;
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

int kp__life_keeper_start(void)
{
    int code = 0;

    kp__lock_take(&lock, &kp__life);
    if (!started) code = kp__thread_start(keep, NULL);
    if (code == 0) started = true;
    kp__lock_give(&lock, &kp__life);
    return code;
}
