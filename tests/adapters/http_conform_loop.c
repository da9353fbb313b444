/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that never blocks, held to what every adapter must hold to: its driver and the
 * transfers run on an event loop, and threads wait for them.
 */
#include "adapters/conform_loop.h"
#include "adapters/http_conform.h"

#include <semaphore.h>

struct transfer {
    kp_lease lease;
    CURLcode result;
    sem_t    over;
};

static void on_end(CURL *curl, CURLcode result, void *arg)
{
    struct transfer *t = arg;

    (void)curl;
    t->result = result;
    conform_loop_must(sem_post(&t->over) == 0);
}

static void begin(void *arg)
{
    struct transfer *t = arg;

    if (kp_http_start(&t->lease, on_end, t) != 0)
        on_end(NULL, CURLE_FAILED_INIT, t);
}

static CURLcode perform(void *resource)
{
    struct transfer t = { .lease = { .resource = resource } };

    conform_loop_must(sem_init(&t.over, 0, 0) == 0);
    conform_loop_do(begin, &t);
    while (sem_wait(&t.over) != 0)
        continue;
    (void)sem_destroy(&t.over);
    return t.result;
}

/* It gives up before the one who asked: his cause is told, and not that his time is over. */
static int fill(kp_options *options)
{
    kp_http_options o = { .connect_timeout_ms = 1000, .watcher = &conform_loop.epoll.watcher };

    options->loop = conform_loop.epoll.loop;
    return kp_http_fill(&o, options);
}

int main(void)
{
    int failed;

    conform_loop_start();
    failed = run_conform("http on a loop", fill);
    conform_loop_stop();
    return failed;
}
