/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter: a driver whose resources are libcurl's easy handles, each with a cache of its
 * own for one connection. If the driver may not block, all transfers of a handle run on an event
 * loop (http_transfer.h), even the one that connects it.
 */
#include "http_parts.h"

#include "clock.h"
#include "dial.h"
#include "http_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- handles --------------------------------------------------------------------------------- */

/* libcurl opens and closes its sockets through these two, so that we know which are open. */
static curl_socket_t open_socket(void *client, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct kp__http_client *h = client;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);

    (void)purpose;
    h->full = fd < 0 && (errno == EMFILE || errno == ENFILE);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    for (int i = 0; i < KP__HTTP_SOCKETS; i++) {
        if (h->fd[i] < 0) {
            h->fd[i] = fd;
            break;
        }
    }
    h->moved = true;
    if (h->context->options.counts)
        kp__count(&h->context->options.counts->sockets, 1);
    return fd;
}

static int close_socket(void *client, curl_socket_t fd)
{
    struct kp__http_client *h = client;

    for (int i = 0; i < KP__HTTP_SOCKETS; i++) {
        if (h->fd[i] == fd)
            h->fd[i] = -1;
    }
    h->moved = true;
    return close(fd);
}

/* Set a new handle, or one that was reset, to how it is lent. */
static CURLcode prepare(struct kp__http_client *h, kp_key origin)
{
    const struct kp__http_context *c = h->context;
    const kp_http_options *o = &c->options;
    CURL *e = h->easy;
    CURLcode rc;

    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);      /* a slow resolver is left behind */
#endif
    (void)curl_easy_setopt(e, CURLOPT_MAXCONNECTS, 1L);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, h);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, h);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    if (o->timeout_ms > 0)
        (void)curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    rc = curl_easy_setopt(e, CURLOPT_URL, (const char *)origin.data);
    if (rc == CURLE_OK && o->user_agent)
        rc = curl_easy_setopt(e, CURLOPT_USERAGENT, o->user_agent);
    if (rc == CURLE_OK && o->ca_file)
        rc = curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
    return rc == CURLE_OK && o->prepare ? o->prepare(e, origin, o->ctx) : rc;
}

/* `sentence` is libcurl's own; "": that of the code is taken. A proxy that libcurl does not
 * understand is quoted there, with its password: the quotation and what follows are not told. (The
 * apostrophe of "Couldn't connect" quotes nothing: the host may be called proxy.) */
static int fail(kp_job *job, CURLcode code, const char *sentence)
{
    const char *said = *sentence ? sentence : curl_easy_strerror(code);
    const char *proxy = strstr(said, "proxy"), *secret = proxy ? strstr(proxy, " '") : NULL;
    char text[512];

    (void)snprintf(text, sizeof text, "http: %.*s%s (%d): %s",
                   (int)(secret ? (size_t)(secret - said) : strlen(said)), said,
                   secret ? " '...'" : "", (int)code, (const char *)job->key.data);
    return kp_job_fail(job, (int)code, text);
}

/* Set everything back; the connection stays, and what is shared. Cookies would stay, too:
 * COOKIEFILE ends the cookie engine, and before 7.77 only COOKIELIST empties it. */
static CURLcode begin_anew(struct kp__http_client *h, kp_key origin)
{
    (void)curl_easy_setopt(h->easy, CURLOPT_SHARE, h->share);
#if LIBCURL_VERSION_NUM >= 0x074a00
    (void)curl_easy_setopt(h->easy, CURLOPT_HSTS, NULL);        /* curl_easy_reset would leak it */
    (void)curl_easy_setopt(h->easy, CURLOPT_HSTS_CTRL, 0L);
#endif
    (void)curl_easy_setopt(h->easy, CURLOPT_COOKIEFILE, NULL);
    (void)curl_easy_setopt(h->easy, CURLOPT_COOKIELIST, "ALL");
    curl_easy_reset(h->easy);
    h->moved = false;
    return prepare(h, origin);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void end_client(struct kp__http_client *h)
{
    if (h->transfer)
        kp__transfer_close(h->transfer);
    curl_easy_cleanup(h->easy);
    free(h);
}

/* 4. The answer of the job. */
static int finish(struct kp__http_client *h, int status, void **resource)
{
    const kp_http_options *o = &h->context->options;

    if (status) {
        end_client(h);
        return status;
    }
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = h;
    return 0;
}

/* 3. The probe has ended, or there was none: set the handle to how it is lent. */
static int ready(kp_job *job, struct kp__http_client *h, CURLcode probed)
{
    CURLcode rc;

    (void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, NULL);
    if (probed != CURLE_OK)
        return fail(job, probed, h->full ? "no socket, this process may not open more files"
                                         : h->detail);
    if (h->transfer)
        (void)kp__transfer_stop(h->transfer);
    kp__http_note_version(h);
    rc = begin_anew(h, job->key);
    return rc == CURLE_OK ? 0 : fail(job, rc, "");
}

static void probed(CURL *easy, CURLcode result, void *client)
{
    struct kp__http_client *h = client;
    kp_job *job = h->job;
    void *resource = NULL;
    int status;

    (void)easy;
    job->scratch = NULL;
    status = finish(h, ready(job, h, result), &resource);
    kp_job_done(job, status, resource);
}

/* 2. Connect, by sending a request. */
static int probe(kp_job *job, struct kp__http_client *h, int64_t within_ms)
{
    const char *path = h->context->options.probe ? h->context->options.probe : "/";
    long left = within_ms > INT_MAX ? INT_MAX : (long)within_ms;
    char url[2048];
    int rc;

    if (!*path)
        return ready(job, h, CURLE_OK);
    if ((size_t)snprintf(url, sizeof url, "%s%s", (const char *)job->key.data, path) >= sizeof url)
        return fail(job, CURLE_URL_MALFORMAT, "origin and probe are too long");
    (void)curl_easy_setopt(h->easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(h->easy, CURLOPT_NOBODY, 1L);
    (void)curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, left);
    (void)curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, left);
    (void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->detail);
    if (!h->transfer)
        return ready(job, h, curl_easy_perform(h->easy));
    rc = kp__transfer_start(h->transfer, probed, h);
    if (rc)
        return rc;
    h->job = job;
    job->scratch = h;
    return KP_PENDING;
}

/* 1. A handle of this pool. */
static int set_up(kp_job *job, struct kp__http_client *h)
{
    struct kp__http_context *c = job->ctx;
    CURLcode rc;

    h->share = kp__share_here(&c->share);
    (void)curl_easy_setopt(h->easy, CURLOPT_SHARE, h->share);
    rc = prepare(h, job->key);
    if (rc != CURLE_OK)
        return fail(job, rc, "");
    return probe(job, h, kp__at_most_ms(c->options.connect_timeout_ms, job->left_ms));
}

static struct kp__http_client *new_client(const struct kp__http_context *c)
{
    struct kp__http_client *h = calloc(1, sizeof *h);

    if (!h)
        return NULL;
    h->context = c;
    for (int i = 0; i < KP__HTTP_SOCKETS; i++)
        h->fd[i] = -1;
    h->easy = curl_easy_init();
    if (h->easy && c->options.watcher)
        h->transfer = kp__transfer_open(h->easy, c->options.watcher);
    if (h->easy && (h->transfer || !c->options.watcher))
        return h;
    end_client(h);
    return NULL;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int create(kp_job *job, void **resource)
{
    struct kp__http_client *h;
    bool good;
    int status;

    if (kp__http_read_origin(job->key, &good) == CURLUE_OUT_OF_MEMORY)
        return KP_ENOMEM;
    if (!good) {                        /* not shown: it may have a password */
        (void)kp_job_fail(job, (int)CURLE_URL_MALFORMAT,
                          "http: a key must be http://host:port or https://host:port and no more");
        return KP_EREFUSED;
    }
    h = new_client(job->ctx);
    if (!h)
        return KP_ENOMEM;
    status = set_up(job, h);
    return status == KP_PENDING ? status : finish(h, status, resource);
}

/* Ends a probe; nothing else here takes long. */
static void cancel(kp_job *job)
{
    struct kp__http_client *h = job->scratch;

    if (!h)
        return;
    (void)snprintf(h->detail, sizeof h->detail, "nobody waited for it any more");
    kp__transfer_end(h->transfer, CURLE_ABORTED_BY_CALLBACK);
}

static int reset(kp_job *job, void *resource)
{
    struct kp__http_client *h = resource;
    bool known = kp__http_knows_connection(h);
    const char *useless;
    CURLcode rc;

    if (h->transfer && !kp__transfer_stop(h->transfer))
        return fail(job, CURLE_RECURSIVE_API_CALL, "given back inside a callback of libcurl");
    if (!known)
        return fail(job, CURLE_COULDNT_CONNECT, "given back with a connection that was made after"
                                                " the borrower's own curl_easy_reset");
    useless = kp__http_useless(h);
    if (useless) {
        int failed = fail(job, CURLE_COULDNT_CONNECT, useless);

        return kp__http_is_gone(h) ? KP_EGONE : failed;
    }
    kp__http_note_version(h);
    if (kp__http_has_unread(h))
        return fail(job, CURLE_RECV_ERROR, "given back with bytes unread");
    rc = begin_anew(h, job->key);
    return rc == CURLE_OK ? 0 : fail(job, rc, "");
}

/* Asks the kernel, not the server. Bytes that wait answer no request, so something is wrong; but
 * HTTP/2 has some of its own. */
static int validate(kp_job *job, void *resource)
{
    const struct kp__http_client *h = resource;

    for (int i = 0; i < KP__HTTP_SOCKETS; i++) {
        int peeked = h->fd[i] < 0 ? 0 : kp__peek(h->fd[i]), rc;

        if (peeked == 0 || (peeked > 0 && !h->terse))
            continue;
        if (h->context->options.counts)
            kp__count(&h->context->options.counts->ended, 1);
        rc = fail(job, CURLE_RECV_ERROR, peeked > 0 ? "bytes came while it was idle"
                                                    : "the server has ended the connection");
        return kp__is_gone(-peeked) ? KP_EGONE : rc;
    }
    return 0;
}

static void destroy_now(struct kp__http_client *h)
{
    kp_http_counts *counts = h->context->options.counts;

    end_client(h);
    if (counts)
        kp__count(&counts->closed, 1);
}

static void destroy_late(CURL *easy, CURLcode result, void *client)
{
    struct kp__http_client *h = client;
    kp_job *job = h->job;

    (void)easy;
    (void)result;
    destroy_now(h);
    kp_job_done(job, 0, NULL);
}

static int destroy(kp_job *job, void *resource)
{
    struct kp__http_client *h = resource;

    if (h->transfer && !kp__transfer_stop(h->transfer)) {
        h->job = job;
        kp__transfer_after(h->transfer, destroy_late, h);
        return KP_PENDING;
    }
    destroy_now(h);
    return 0;
}

/* The handle stays as it is: its borrower may have been in the middle of a transfer. */
static int abandon(kp_job *job, void *resource)
{
    struct kp__http_client *h = resource;

    (void)job;
    for (int i = 0; i < KP__HTTP_SOCKETS; i++) {
        if (h->fd[i] >= 0)
            (void)close(h->fd[i]);
    }
    return 0;
}

/* Asked once: the connections that libcurl makes later are not watched. */
static int descriptor(void *resource, void *ctx)
{
    const struct kp__http_client *h = resource;
    int i = 0;

    (void)ctx;
    while (i < KP__HTTP_SOCKETS - 1 && h->fd[i] < 0)
        i++;
    return h->fd[i];
}

kp_driver kp__http_driver(struct kp__http_context *context)
{
    bool blocks = !context->options.watcher;

    return (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .abandon = abandon, .cancel = blocks ? NULL : cancel,
        .flags = blocks ? 0 : KP_NEVER_BLOCKS, .ctx = context,
        .fd = KP__HAS_FD ? descriptor : NULL,
    };
}

/* ---- transfers of borrowers ------------------------------------------------------------------ */

int kp_http_start(const kp_lease *lease, kp_http_done_fn done, void *arg)
{
    const struct kp__http_client *h = lease ? lease->resource : NULL;

    return h && h->transfer && done ? kp__transfer_start(h->transfer, done, arg) : KP_EMISUSE;
}

void kp_http_stop(const kp_lease *lease)
{
    const struct kp__http_client *h = lease ? lease->resource : NULL;

    if (h && h->transfer && kp__transfer_runs(h->transfer))
        (void)kp__transfer_stop(h->transfer);
}
