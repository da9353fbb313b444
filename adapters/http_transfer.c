/* SPDX-License-Identifier: MIT
 *
 * Transfers on an event loop (http_transfer.h).
 */
#include "http_transfer.h"

#include <pthread.h>
#include <stdlib.h>

/* A descriptor that libcurl waits for. It has several at once where a host has two addresses. */
struct spot {
    kp_watch     watch;
    struct kp__transfer *transfer;
    struct spot *next;
    int          fd, events;
};

/* Where the easy handle is. It stays in the multi handle until it has to be out, so that a borrower
 * can still ask for its socket when the transfer is done. */
enum stage { OUT, IN, RUNNING };

struct kp__transfer {
    CURL        *easy;
    CURLM       *multi;
    kp_watcher  *watcher;
    pthread_t    thread;                /* the loop's */
    struct spot *spots;
    kp_watch     timer;
    kp_http_done_fn done;               /* NULL: nobody is told */
    void        *arg;
    CURLcode     result;                /* with which `cut` ends it */
    enum stage   stage;
    bool         acting;                /* in a call of libcurl's */
    bool         cut;                   /* to be ended when libcurl has returned */
    bool         starved;               /* something cannot be watched */
};

/* ---- what libcurl waits for ------------------------------------------------------------------ */

static void act(struct kp__transfer *t, curl_socket_t fd, int came);

static void unwatch(struct kp__transfer *t, kp_watch *watch)
{
    if (watch->next)
        t->watcher->stop(t->watcher, watch);
}

static void spot_told(kp_watch *watch, int events)
{
    const struct spot *s = watch->arg;

    act(s->transfer, s->fd, (events & KP_WATCH_READ ? CURL_CSELECT_IN : 0) |
                            (events & KP_WATCH_WRITE ? CURL_CSELECT_OUT : 0));
}

static void timer_told(kp_watch *watch, int events)
{
    (void)events;
    act(watch->arg, CURL_SOCKET_TIMEOUT, 0);
}

/* It is not watched before libcurl has returned (watch_all). */
static void spot_add(struct kp__transfer *t, int fd, int events)
{
    struct spot *s = calloc(1, sizeof *s);

    if (!s) {
        t->starved = true;
        return;
    }
    *s = (struct spot){ .watch = { .told = spot_told, .arg = s }, .transfer = t, .fd = fd,
                        .events = events, .next = t->spots };
    t->spots = s;
}

/* Called by libcurl: from now on wait for this on this descriptor, or for nothing any more. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *transfer, void *unused)
{
    struct kp__transfer *t = transfer;
    int events = (what == CURL_POLL_IN || what == CURL_POLL_INOUT ? KP_WATCH_READ : 0) |
                 (what == CURL_POLL_OUT || what == CURL_POLL_INOUT ? KP_WATCH_WRITE : 0);
    struct spot **at = &t->spots, *s;

    (void)easy;
    (void)unused;
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    s = *at;
    if (!s) {
        if (events)
            spot_add(t, fd, events);
        return 0;
    }
    unwatch(t, &s->watch);
    s->events = events;
    if (!events) {
        *at = s->next;
        free(s);
    }
    return 0;
}

/* Called by libcurl: wake it in so many ms from now, whatever it said before; or never. */
static int on_timer(CURLM *multi, long within_ms, void *transfer)
{
    struct kp__transfer *t = transfer;

    (void)multi;
    unwatch(t, &t->timer);
    if (within_ms >= 0 && t->watcher->start(t->watcher, &t->timer, -1, 0, within_ms) != 0)
        t->starved = true;
    return 0;
}

/* Each watch tells only once, so all that are not watched are started again. */
static void watch_all(struct kp__transfer *t)
{
    for (struct spot *s = t->spots; s; s = s->next) {
        if (!s->watch.next &&
            t->watcher->start(t->watcher, &s->watch, s->fd, s->events, KP_OFF) != 0)
            t->starved = true;
    }
}

/* ---- the way of a transfer ------------------------------------------------------------------- */

/* Take the easy handle out. False: we are inside a call of libcurl's, an act or curl_easy_pause. */
static bool take_out(struct kp__transfer *t)
{
    CURLMcode rc = CURLM_OK;

    if (t->acting)
        return false;
    t->acting = true;
    if (t->stage != OUT)
        rc = curl_multi_remove_handle(t->multi, t->easy);
    t->acting = false;
    if (rc == CURLM_RECURSIVE_API_CALL)
        return false;
    t->stage = OUT;
    watch_all(t);
    return true;
}

/* `done` may close the transfer in here. */
static void finish(struct kp__transfer *t, CURLcode result)
{
    kp_http_done_fn done = t->done;

    t->done = NULL;
    t->cut = t->starved = false;
    if (t->stage == RUNNING)
        t->stage = IN;
    if (done)
        done(t->easy, result, t->arg);
}

/* A transfer that is cut off must not call the borrower's functions on its way out. Nor need
 * curl_easy_pause call us again, if it is that which called them: so we see to it ourselves. */
void kp__transfer_end(struct kp__transfer *t, CURLcode result)
{
    if (t->stage != OUT) {
        (void)curl_easy_setopt(t->easy, CURLOPT_NOPROGRESS, 1L);
        (void)curl_easy_setopt(t->easy, CURLOPT_VERBOSE, 0L);
    }
    if (take_out(t)) {
        finish(t, result);
        return;
    }
    t->cut = true;
    t->result = result;
    if (!t->acting)
        (void)on_timer(t->multi, 0, t);
}

bool kp__transfer_stop(struct kp__transfer *t)
{
    t->done = NULL;
    kp__transfer_end(t, CURLE_ABORTED_BY_CALLBACK);
    return !t->cut;
}

void kp__transfer_after(struct kp__transfer *t, kp_http_done_fn then, void *arg)
{
    t->done = then;
    t->arg = arg;
}

static void act(struct kp__transfer *t, curl_socket_t fd, int came)
{
    const CURLMsg *message;
    int unused;

    t->acting = true;
    if (curl_multi_socket_action(t->multi, fd, came, &unused) != CURLM_OK)
        t->starved = true;
    t->acting = false;
    watch_all(t);
    message = curl_multi_info_read(t->multi, &unused);
    if (message)
        finish(t, message->data.result);
    else if (t->cut || t->starved)
        kp__transfer_end(t, t->cut ? t->result : CURLE_OUT_OF_MEMORY);
}

bool kp__transfer_runs(const struct kp__transfer *t)
{
    return t->stage == RUNNING;
}

int kp__transfer_start(struct kp__transfer *t, kp_http_done_fn done, void *arg)
{
    CURLMcode rc;
    int code;

    if (!pthread_equal(t->thread, pthread_self()) || t->stage == RUNNING || !take_out(t))
        return KP_EMISUSE;
    t->starved = false;
    t->acting = true;
    rc = curl_multi_add_handle(t->multi, t->easy);
    t->acting = false;
    t->stage = rc == CURLM_OK ? IN : OUT;
    if (t->stage == IN && !t->starved && !t->cut) {
        t->stage = RUNNING;
        t->done = done;
        t->arg = arg;
        return 0;
    }
    code = t->cut || (t->stage == OUT && rc != CURLM_OUT_OF_MEMORY) ? KP_EMISUSE : KP_ENOMEM;
    kp__transfer_end(t, t->result);     /* which may close it */
    return code;
}

/* ---- opening --------------------------------------------------------------------------------- */

struct kp__transfer *kp__transfer_open(CURL *easy, kp_watcher *watcher)
{
    struct kp__transfer *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->multi = curl_multi_init();
    if (!t->multi) {
        free(t);
        return NULL;
    }
    t->easy = easy;
    t->watcher = watcher;
    t->thread = pthread_self();
    t->timer.told = timer_told;
    t->timer.arg = t;
    (void)curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, 1L);
    (void)curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
    (void)curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
    return t;
}

/* Watches are stopped first, so that no descriptor is closed while it is watched. */
void kp__transfer_close(struct kp__transfer *t)
{
    (void)take_out(t);
    for (struct spot *s = t->spots; s; s = s->next)
        unwatch(t, &s->watch);
    (void)curl_multi_cleanup(t->multi);
    unwatch(t, &t->timer);
    while (t->spots) {
        struct spot *s = t->spots;

        t->spots = s->next;
        free(s);
    }
    free(t);
}
