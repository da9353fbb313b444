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

static CURLcode run_on_loop(void (*run)(void *arg), void *resource)
{
    struct transfer t = { .lease = { .resource = resource } };

    conform_loop_must(sem_init(&t.over, 0, 0) == 0);
    conform_loop_do(run, &t);
    while (sem_wait(&t.over) != 0)
        continue;
    (void)sem_destroy(&t.over);
    return t.result;
}

static CURLcode perform(void *resource)
{
    return run_on_loop(begin, resource);
}

/* ---- a transfer that is under way when its lease ends ---------------------------------------- */

static void must_not_end(CURL *curl, CURLcode result, void *arg)
{
    (void)curl;
    (void)result;
    (void)arg;
    conform_loop_must(false);
}

static void only_begin(void *arg)
{
    struct transfer *t = arg;

    on_end(NULL, kp_http_start(&t->lease, must_not_end, NULL) == 0 ? CURLE_OK : CURLE_FAILED_INIT,
           t);
}

static void leave_a_transfer(void *resource)
{
    char url[128];

    (void)snprintf(url, sizeof url, "%s/silent", origins[0]);
    (void)curl_easy_setopt(easy_of(resource), CURLOPT_URL, url);
    conform_loop_must(run_on_loop(only_begin, resource) == CURLE_OK);
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
    struct conform_left also = { "a transfer under way", leave_a_transfer, answers_wrong };
    int failed;

    conform_loop_start();
    failed = run_conform("http on a loop", fill, also);
    conform_loop_stop();
    return failed;
}
