/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter: a driver whose resources are libcurl's easy handles, each with a connection
 * cache of its own, of one connection.
 */
#include "keyedpool_http.h"

#include "dial.h"
#include "fill.h"
#include "http_share.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* libcurl tries two addresses at once; more are only closed later than they might be. */
#define SOCKETS_MAX 4

/* What the pool keeps as driver.ctx: the options, with strings of their own. */
struct context {
    kp_http_options   options;
    struct kp__share *share;
};

/* The handle comes first: kp_http reads it. */
struct client {
    CURL *easy;
    CURLSH *share;                      /* the pool's; or NULL */
    const struct context *context;
    int   fd[SOCKETS_MAX];              /* open now; or -1 */
    int   watched;                      /* the one that the pool watches; or -1 */
    bool  connected;                    /* by this borrower */
};

kp_http_counts kp_http_counts_read(const kp_http_counts *counts)
{
    kp_http_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- handles --------------------------------------------------------------------------------- */

/* libcurl opens and closes its sockets through these two, so that it is known which there are. */
static curl_socket_t open_socket(void *client, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct client *h = client;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);

    (void)purpose;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (h->fd[i] < 0) {
            h->fd[i] = fd;
            break;
        }
    }
    h->connected = true;
    if (h->context->options.counts)
        kp__count(&h->context->options.counts->sockets, 1);
    return fd;
}

/* The pool knows this number until the handle is destroyed, so nothing else may have it before
 * then: the connection ends, and what stays behind it is a socket to nobody. */
static int close_but_keep(int fd)
{
    int nobody = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (nobody < 0 || dup3(nobody, fd, O_CLOEXEC) < 0)
        (void)shutdown(fd, SHUT_RDWR);  /* the pool sees an end, and drops the handle */
    return nobody < 0 ? 0 : close(nobody);
}

static int close_socket(void *client, curl_socket_t fd)
{
    struct client *h = client;

    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (h->fd[i] == fd)
            h->fd[i] = -1;
    }
    return fd == h->watched ? close_but_keep(fd) : close(fd);
}

/* The number that was kept; or -1. */
static int kept(const struct client *h)
{
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (h->fd[i] == h->watched)
            return -1;
    }
    return h->watched;
}

/* A new handle, or one that was reset, as it is lent. */
static CURLcode prepare(struct client *h, kp_key origin)
{
    const struct context *c = h->context;
    const kp_http_options *o = &c->options;
    CURL *e = h->easy;

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
    (void)curl_easy_setopt(e, CURLOPT_URL, (const char *)origin.data);
    if (o->timeout_ms > 0)
        (void)curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    if (o->user_agent)
        (void)curl_easy_setopt(e, CURLOPT_USERAGENT, o->user_agent);
    if (o->ca_file) {
        CURLcode rc = curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);

        if (rc != CURLE_OK)
            return rc;
    }
    return o->prepare ? o->prepare(e, origin, o->ctx) : CURLE_OK;
}

/* libcurl's own sentence where it made one, else that of the code. */
static int fail(kp_job *job, CURLcode code, const char *sentence)
{
    char text[512];

    if (!*sentence)
        sentence = curl_easy_strerror(code);
    (void)snprintf(text, sizeof text, "http: %s (%d): %s", sentence, (int)code,
                   (const char *)job->key.data);
    for (char *p = text; *p; p++) {
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    }
    return kp_job_fail(job, (int)code, text);
}

/* scheme://host[:port] and nothing more: no password, which would appear in reports. */
static bool is_origin(kp_key key)
{
    CURLU *url = curl_url();
    const char *text = key.data;
    char *path = NULL, *part = NULL;
    bool good = url && key.size > 0 && !memchr(text, '\0', key.size) &&
                (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) &&
                curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
                strcmp(path, "/") == 0 && !strpbrk(strstr(text, "://") + 3, "/?#");

    for (int i = 0; good && i < 4; i++) {
        static const CURLUPart none[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
                                          CURLUPART_FRAGMENT };

        good = curl_url_get(url, none[i], &part, 0) != CURLUE_OK;
        curl_free(part);
        part = NULL;
    }
    curl_free(path);
    curl_url_cleanup(url);
    return good;
}

/* Connect, by asking for something. */
static int probe(kp_job *job, struct client *h, int64_t within_ms)
{
    const char *path = h->context->options.probe ? h->context->options.probe : "/";
    long left = within_ms > INT_MAX ? INT_MAX : (long)within_ms;
    char url[2048], detail[CURL_ERROR_SIZE] = "";
    CURLcode rc;

    if (!*path)
        return 0;
    if ((size_t)snprintf(url, sizeof url, "%s%s", (const char *)job->key.data, path) >= sizeof url)
        return fail(job, CURLE_URL_MALFORMAT, "origin and probe are too long");
    (void)curl_easy_setopt(h->easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(h->easy, CURLOPT_NOBODY, 1L);
    (void)curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, left);
    (void)curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, left);
    (void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, detail);
    rc = curl_easy_perform(h->easy);
    (void)curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, NULL);
    return rc == CURLE_OK ? 0 : fail(job, rc, detail);
}

/* Everything back to its beginning; the connection stays, and what is shared. Cookies would stay,
 * too: the first of these ends their engine, before 7.77 only the second one empties it. */
static CURLcode begin_anew(struct client *h, kp_key origin)
{
    (void)curl_easy_setopt(h->easy, CURLOPT_SHARE, h->share);
#if LIBCURL_VERSION_NUM >= 0x074a00
    (void)curl_easy_setopt(h->easy, CURLOPT_HSTS, NULL);        /* curl_easy_reset would leak it */
    (void)curl_easy_setopt(h->easy, CURLOPT_HSTS_CTRL, 0L);
#endif
    (void)curl_easy_setopt(h->easy, CURLOPT_COOKIEFILE, NULL);
    (void)curl_easy_setopt(h->easy, CURLOPT_COOKIELIST, "ALL");
    curl_easy_reset(h->easy);
    h->connected = false;
    return prepare(h, origin);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int set_up(kp_job *job, struct client *h)
{
    int64_t most_ms = h->context->options.connect_timeout_ms;
    struct context *c = job->ctx;
    CURLcode rc;
    int result;

    h->share = kp__share_here(&c->share);
    (void)curl_easy_setopt(h->easy, CURLOPT_SHARE, h->share);
    rc = prepare(h, job->key);
    if (rc != CURLE_OK)
        return fail(job, rc, "");
    result = probe(job, h, most_ms > 0 && most_ms < job->left_ms ? most_ms : job->left_ms);
    if (result)
        return result;
    rc = begin_anew(h, job->key);
    return rc == CURLE_OK ? 0 : fail(job, rc, "");
}

static int create(kp_job *job, void **resource)
{
    const struct context *c = job->ctx;
    struct client *h;
    int rc;

    if (!is_origin(job->key)) {         /* not shown: it may have a password */
        (void)kp_job_fail(job, (int)CURLE_URL_MALFORMAT,
                          "http: a key is http://host:port or https://host:port, and no more");
        return KP_EREFUSED;
    }
    h = malloc(sizeof *h);
    if (!h)
        return KP_ENOMEM;
    h->context = c;
    for (int i = 0; i < SOCKETS_MAX; i++)
        h->fd[i] = -1;
    h->watched = -1;
    h->easy = curl_easy_init();
    rc = h->easy ? set_up(job, h) : KP_ENOMEM;
    if (rc) {
        curl_easy_cleanup(h->easy);
        free(h);
        return rc;
    }
    if (c->options.counts)
        kp__count(&c->options.counts->opened, 1);
    *resource = h;
    return 0;
}

/* The last transfer had no answer, and either there is no connection (then let the next handle be
 * made with the reason told), or there is a new one, made for CURLOPT_CONNECT_ONLY: that one cannot
 * be used again, and libcurl forgets it without freeing it. A server may well close after an
 * answer, and a borrower may have asked for nothing. */
static bool got_nowhere(const struct client *h)
{
    bool open = false, probing = !h->context->options.probe || *h->context->options.probe;
    long status = 0;

    for (int i = 0; i < SOCKETS_MAX; i++)
        open = open || h->fd[i] >= 0;
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 0 && (open ? h->connected : probing);
}

/* And what the system said about it. */
static int fail_without(kp_job *job, const struct client *h)
{
    int rc = fail(job, CURLE_COULDNT_CONNECT, "given back without a connection for the next");
    long code = 0;

    (void)curl_easy_getinfo(h->easy, CURLINFO_OS_ERRNO, &code);
    return kp__is_gone((int)code) ? KP_EGONE : rc;
}

static int reset(kp_job *job, void *resource)
{
    CURLcode rc;

    if (got_nowhere(resource))
        return fail_without(job, resource);
    rc = begin_anew(resource, job->key);
    return rc == CURLE_OK ? 0 : fail(job, rc, "");
}

/* The kernel is asked, not the server. Bytes that wait are none of anybody's, but in TLS, which has
 * some of its own. */
static int validate(kp_job *job, void *resource)
{
    const struct client *h = resource;
    bool tls = strncmp(job->key.data, "https:", 6) == 0;

    for (int i = 0; i < SOCKETS_MAX; i++) {
        int stirred = h->fd[i] < 0 ? 0 : kp__stirred(h->fd[i]), rc;

        if (stirred == 0 || (stirred > 0 && tls))
            continue;
        if (h->context->options.counts)
            kp__count(&h->context->options.counts->ended, 1);
        rc = fail(job, CURLE_RECV_ERROR, stirred > 0 ? "bytes came while it was idle"
                                                     : "the server has ended the connection");
        return kp__is_gone(-stirred) ? KP_EGONE : rc;
    }
    return 0;
}

static int destroy(kp_job *job, void *resource)
{
    const struct context *c = job->ctx;
    struct client *h = resource;
    int number = kept(h);

    h->watched = -1;
    curl_easy_cleanup(h->easy);
    if (number >= 0)
        (void)close(number);
    free(h);
    if (c->options.counts)
        kp__count(&c->options.counts->closed, 1);
    return 0;
}

/* The handle stays as it is: its borrower may have been in the middle of a transfer. */
static int abandon(kp_job *job, void *resource)
{
    struct client *h = resource;

    (void)job;
    for (int i = 0; i < SOCKETS_MAX; i++) {
        if (h->fd[i] >= 0)
            (void)close(h->fd[i]);
    }
    if (kept(h) >= 0)
        (void)close(h->watched);
    return 0;
}

/* Asked once: the connections that libcurl makes later are not watched. */
static int descriptor(void *resource, void *ctx)
{
    struct client *h = resource;

    (void)ctx;
    for (int i = 0; i < SOCKETS_MAX && h->watched < 0; i++)
        h->watched = h->fd[i];
    return h->watched;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void drop(void *ctx)
{
    struct context *c = ctx;

    kp__share_drop(c->share);
    kp__disown(&c->options.probe);
    kp__disown(&c->options.ca_file);
    kp__disown(&c->options.user_agent);
    free(c);
}

static struct context *context_make(const kp_http_options *http)
{
    struct context *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return NULL;
    c->options = *http;
    c->share = kp__share_make();
    rc = kp__own(&c->options.probe) | kp__own(&c->options.ca_file) |
         kp__own(&c->options.user_agent);
    if (rc || !c->share) {
        drop(c);
        return NULL;
    }
    return c;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_http_options *o, const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!kp__is_time(o->connect_timeout_ms))
        return "http.connect_timeout_ms";
    if (!kp__is_time(o->timeout_ms) || o->timeout_ms > INT_MAX)
        return "http.timeout_ms";
    *sentence = "it must be a path, or \"\"";
    if (o->probe && *o->probe && *o->probe != '/')
        return "http.probe";
    return NULL;
}

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

int kp_http_fill(const kp_http_options *http, kp_options *options)
{
    static const kp_http_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *field, *sentence;
    struct context *c;

    if (!http)
        http = &defaults;
    field = impossible(http, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    (void)pthread_once(&once, start_curl);
    c = context_make(http);
    if (!c)
        return KP_ENOMEM;
    options->driver = (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .abandon = abandon, .ctx = c, .drop_ctx = drop, .fd = KP__HAS_FD ? descriptor : NULL,
    };
    return 0;
}

int kp_http_open(const kp_http_options *http, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_http_fill(http, &options);

    return kp__open_filled(rc, &options, out);
}
