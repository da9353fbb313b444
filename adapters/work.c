/* SPDX-License-Identifier: MIT
 *
 * Waiting for the steps of a job (work.h): with poll, or through a watcher.
 */
#include "work.h"

#include "clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

void kp__work_begin(struct kp__work *w, const struct kp__work_kind *kind, kp_job *job,
                    kp_watcher *watcher, int64_t most_ms)
{
    memset(w, 0, kind->size);
    w->kind = kind;
    w->job = job;
    w->watcher = watcher;
    w->until_ns = kp__until_ns(kp__at_most_ms(most_ms, job->left_ms));
}

int kp__work_left_ms(const struct kp__work *w)
{
    return kp__left_ms(w->until_ns);
}

/* Before each wait: while no time is left for it, let the job step on. Returns what it wants. */
static int in_time(struct kp__work *w, int wanted)
{
    while (wanted && kp__left_ms(w->kind->wait(w).until_ns) == 0)
        wanted = w->kind->step(w, 0);
    return wanted;
}

/* ---- with poll ------------------------------------------------------------------------------- */

/* An error or a hang-up counts as what was wanted. A signal only makes it poll again. */
static int run_here(struct kp__work *w, int wanted, void **resource)
{
    while (wanted) {
        struct kp__wait on = w->kind->wait(w);
        struct pollfd p = { .fd = on.fd, .events = (short)wanted };

        if (poll(&p, 1, kp__left_ms(on.until_ns)) > 0)
            wanted = w->kind->step(w, p.revents & ~wanted ? wanted : p.revents);
        wanted = in_time(w, wanted);
    }
    return w->kind->finish(w, resource);
}

/* ---- through a watcher ----------------------------------------------------------------------- */

static int watch(struct kp__work *w, int wanted)
{
    struct kp__wait on = w->kind->wait(w);
    int events = (wanted & POLLIN ? KP_WATCH_READ : 0) | (wanted & POLLOUT ? KP_WATCH_WRITE : 0);

    w->wanted = wanted;
    return w->watcher->start(w->watcher, &w->watch, on.fd, events, kp__left_ms(on.until_ns));
}

static void answer(struct kp__work *w)
{
    void *resource = NULL;
    int status = w->kind->finish(w, &resource);

    kp_job_done(w->job, status, resource);
    free(w);
}

/* A loop's clock may be coarse: when it says that the time is over, ours is asked (in_time). */
static void told(kp_watch *watched, int events)
{
    struct kp__work *w = watched->arg;
    int ready = (events & KP_WATCH_READ ? POLLIN : 0) | (events & KP_WATCH_WRITE ? POLLOUT : 0);
    int wanted = in_time(w, ready ? w->kind->step(w, ready) : w->wanted), rc = 0;

    if (wanted && (rc = watch(w, wanted)) == 0)
        return;
    if (rc)
        w->status = w->kind->unwatched(w->job, rc);
    answer(w);
}

/* Copy it to where it stays put, and have it watched. 0, or why not. */
static int hand_over(const struct kp__work *here, int wanted)
{
    struct kp__work *w = malloc(here->kind->size);
    int rc;

    if (!w)
        return KP_ENOMEM;
    memcpy(w, here, here->kind->size);
    w->watch.told = told;
    w->watch.arg = w;
    rc = watch(w, wanted);
    if (rc == 0)
        w->job->scratch = w;
    else
        free(w);
    return rc;
}

/* ---- both ------------------------------------------------------------------------------------ */

int kp__work_run(struct kp__work *w, int wanted, void **resource)
{
    int rc;

    wanted = in_time(w, wanted);
    if (!wanted || !w->watcher)
        return run_here(w, wanted, resource);
    rc = hand_over(w, wanted);
    if (rc == 0)
        return KP_PENDING;
    w->status = w->kind->unwatched(w->job, rc);
    return w->kind->finish(w, resource);
}

/* If it is not watched, it is just being answered. */
void kp__work_cancel(kp_job *job)
{
    struct kp__work *w = job->scratch;

    if (!w || !w->watch.next)
        return;
    w->watcher->stop(w->watcher, &w->watch);
    w->status = w->kind->unwanted(job);
    answer(w);
}
