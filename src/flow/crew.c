/* SPDX-License-Identifier: MIT
 *
 * The pool's own threads (options.threads). They run its creations (create.c), so that no get is
 * later than its deadline; the other functions of its driver where the thread of a loop may not run
 * them; and its upkeep (keeper.c). The crew outlives the pool until its threads have noticed that
 * it is gone; the last one frees the crew.
 */
#include "base/check.h"
#include "flow/job.h"
#include "flow/upkeep.h"

struct kp__crew {
    struct kp__lock lock;
    _Atomic uint32_t rings;
    struct kp__list jobs; /* Guard: lock. To be run */
    kp_pool *door;
    uint64_t due;     /* Guard: lock. Upkeep */
    uint32_t threads; /* Guard: lock */
    uint32_t keeping; /* Guard: lock. Those of them that do upkeep */
    bool kept;        /* Guard: lock. What was begun last is upkeep */
    bool over;        /* Guard: lock. The pool is gone */
};

static void ring(struct kp__crew *crew)
{
    atomic_fetch_add(&crew->rings, 1);
    kp__life.wake((uint32_t *)&crew->rings, 1, kp__life.ctx);
}

/* When upkeep is due for one more thread. If there are several, one is left for the jobs: where
 * much is due at once the driver may hold up all others. With the crew's lock. */
static uint64_t upkeep_at(const struct kp__crew *crew)
{
    return crew->keeping == 0 || crew->keeping + 1 < crew->threads ? crew->due : KP__NEVER;
}

/* One thing to do: a job, or upkeep (NULL and *keep), or nothing. Where there are both they take
 * turns: there may always be one more create. With the crew's lock. */
static struct kp__job *next(struct kp__crew *crew, bool *keep)
{
    struct kp__list *node = kp__list_first(&crew->jobs);

    *keep = upkeep_at(crew) <= kp__now(&kp__life) && (!node || !crew->kept);
    crew->kept = *keep;
    if (*keep) crew->due = KP__NEVER;
    if (*keep && node) ring(crew); /* another thread may be free to run the job */
    if (*keep || !node) return NULL;
    kp__list_remove(node);
    return KP__OF(node, struct kp__job, queue);
}

/* With the crew's lock, given back meanwhile. */
static void do_upkeep(struct kp__crew *crew)
{
    crew->keeping++;
    kp__lock_give(&crew->lock, &kp__life);
    (void)kp_keep(crew->door);
    kp__lock_take(&crew->lock, &kp__life);
    bool one_more = upkeep_at(crew) != crew->due;
    crew->keeping--;
    if (one_more) ring(crew); /* the one that was left for the jobs */
}

static void *work(void *arg)
{
    struct kp__crew *crew = arg;
    bool keep, last;

    kp__lock_take(&crew->lock, &kp__life);
    while (!crew->over) {
        uint32_t heard = atomic_load(&crew->rings);
        struct kp__job *job = next(crew, &keep);
        uint64_t until = upkeep_at(crew);
        if (keep) {
            do_upkeep(crew);
            continue;
        }
        kp__lock_give(&crew->lock, &kp__life);
        if (job) kp__job_perform(job);
        else kp__life.park((uint32_t *)&crew->rings, heard, until, kp__life.ctx);
        kp__lock_take(&crew->lock, &kp__life);
    }
    last = --crew->threads == 0;
    if (!last) ring(crew); /* wake the next, which may free the crew: so, with the lock */
    kp__lock_give(&crew->lock, &kp__life);
    if (last) kp__free(&kp__life, crew, sizeof *crew);
    return NULL;
}

static void upkeep(kp_pool *door, uint64_t due_ns, void *ctx)
{
    /* relaxed: under the pool's lock */
    struct kp__crew *crew = atomic_load_explicit(&door->pool, memory_order_relaxed)->crew;

    (void)ctx;
    kp__lock_take(&crew->lock, &kp__life);
    crew->due = due_ns;
    ring(crew);
    kp__lock_give(&crew->lock, &kp__life);
}

int kp__crew_open(struct kp__pool *pool, int64_t threads)
{
    struct kp__crew *crew = kp__alloc(&kp__life, sizeof *crew, 16);
    int64_t started = 0;

    if (!crew) return KP_ENOMEM;
    kp__list_init(&crew->jobs);
    crew->door = pool->door;
    crew->due = KP__NEVER;
    kp__lock_take(&crew->lock, &kp__life);
    while (started < threads && kp__thread_start(work, crew) == 0) started++;
    crew->threads = (uint32_t)started;
    crew->over = started < threads;
    if (started > 0 && started < threads) ring(crew);
    kp__lock_give(&crew->lock, &kp__life);
    if (started == 0) kp__free(&kp__life, crew, sizeof *crew);
    if (started < threads) return KP_ENOMEM;
    pool->upkeep = upkeep;
    pool->crew = crew;
    return 0;
}

void kp__crew_post(struct kp__pool *pool, struct kp__job *job)
{
    struct kp__crew *crew = pool->crew;

    kp__lock_take(&crew->lock, &kp__life);
    kp__list_push_back(&crew->jobs, &job->queue);
    ring(crew);
    kp__lock_give(&crew->lock, &kp__life);
}

void kp__crew_end(struct kp__crew *crew)
{
    if (!crew) return;
    kp__lock_take(&crew->lock, &kp__life);
    crew->over = true;
    ring(crew); /* with the lock: the last thread cannot free it before it is given back */
    kp__lock_give(&crew->lock, &kp__life);
}
