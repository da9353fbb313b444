/* SPDX-License-Identifier: MIT
 *
 * The socket adapter: a driver whose resources are connected stream sockets.
 */
#include "keyedpool_socket.h"

#include "clock.h"
#include "dial.h"
#include "fill.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEPALIVE_DEFAULT_MS 60000
#define KEEPALIVE_EVERY_DEFAULT_MS 10000
#define KEEPALIVE_PROBES_DEFAULT 3
#define SECONDS_MOST 32767              /* Linux takes no more in TCP_KEEPIDLE and TCP_KEEPINTVL */
#define PROBES_MOST 127                 /* and no more in TCP_KEEPCNT */

/* The descriptor comes first: kp_socket_fd reads it. */
struct link {
    int fd;
};

kp_socket_counts kp_socket_counts_read(const kp_socket_counts *counts)
{
    kp_socket_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- what a socket is set to ----------------------------------------------------------------- */

static void set_timeouts(int fd, int64_t ms)
{
    struct timeval tv = { 0 };

    tv.tv_sec = (time_t)(ms / 1000);
    tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

static int set_blocking(int fd, bool blocking)
{
    int now = fcntl(fd, F_GETFL), flags = blocking ? now & ~O_NONBLOCK : now | O_NONBLOCK;

    if (now < 0)
        return errno;
    return flags == now || fcntl(fd, F_SETFL, flags) == 0 ? 0 : errno;
}

/* Set it to how it is lent, each time: a borrower may have changed it. */
static int make_ready(const kp_socket_options *o, int fd)
{
    set_timeouts(fd, o->io_timeout_ms == KP_OFF ? 0 : o->io_timeout_ms);
    return set_blocking(fd, o->nonblocking != 1);
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value ? value : otherwise;
}

/* The kernel takes whole seconds: at least one, and no more than nine hours. */
static int seconds(int64_t ms)
{
    int64_t s = ms / 1000 + (ms % 1000 != 0);

    return s > SECONDS_MOST ? SECONDS_MOST : (int)s;
}

static int set_up_tcp(const kp_socket_options *o, int fd)
{
    int64_t idle_ms = or_default(o->keepalive_ms, KEEPALIVE_DEFAULT_MS);
    int64_t every_ms = or_default(o->keepalive_every_ms, KEEPALIVE_EVERY_DEFAULT_MS);
    int64_t probes = or_default(o->keepalive_probes, KEEPALIVE_PROBES_DEFAULT);

    return kp__tcp_set(fd, o->nodelay != KP_OFF, idle_ms == KP_OFF ? 0 : seconds(idle_ms),
                       seconds(every_ms), probes > PROBES_MOST ? PROBES_MOST : (int)probes);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int fail(kp_job *job, int code, const char *sentence)
{
    char text[300];

    (void)snprintf(text, sizeof text, "socket: %s", sentence);
    return kp_job_fail(job, code, text);
}

static int refuse(kp_job *job, const char *sentence)
{
    (void)fail(job, EINVAL, sentence);
    return KP_EREFUSED;
}

static int shake_hands(const kp_socket_options *o, kp_job *job, int fd, int64_t until_ns)
{
    int left = kp__left_ms(until_ns), rc;

    if (left == 0)
        return fail(job, ETIMEDOUT, "connected, but no time was left for on_open");
    set_timeouts(fd, left);
    rc = o->on_open(job, fd, left, o->ctx);
    return rc > 0 ? fail(job, rc, "on_open failed") : rc;
}

static int set_up(const kp_socket_options *o, kp_job *job, int fd, bool tcp, int64_t until_ns)
{
    int rc = tcp ? set_up_tcp(o, fd) : 0;

    if (rc == 0 && o->on_open) {
        rc = shake_hands(o, job, fd, until_ns);
        if (rc)
            return rc;
    }
    if (rc == 0)
        rc = make_ready(o, fd);
    return rc == 0 ? 0 : fail(job, rc, strerror(rc));
}

static int create(kp_job *job, void **resource)
{
    const kp_socket_options *o = job->ctx;
    int64_t until_ns = kp__until_ns(kp__at_most_ms(o->connect_timeout_ms, job->left_ms));
    const char *wrong;
    struct kp__place place;
    struct kp__fault fault;
    struct link *link;
    int fd, rc;

    wrong = kp__place_read(job->key.data, job->key.size, NULL, &place);
    if (wrong)
        return refuse(job, wrong);
    fd = kp__dial(&place, until_ns, &fault);
    if (fd < 0)
        return fail(job, fault.code, fault.text);
    rc = set_up(o, job, fd, !*place.path, until_ns);
    link = rc == 0 ? malloc(sizeof *link) : NULL;
    if (!link) {
        (void)close(fd);
        return rc ? rc : KP_ENOMEM;
    }
    link->fd = fd;
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = link;
    return 0;
}

/* Was our own half ended (shutdown)? That shows only in a send; so one of no bytes. */
static int own_half(const struct link *link)
{
    return send(link->fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN ? -errno : 0;
}

/* Nothing can be read any more: did the borrower end that (shutdown), while TCP still waits for the
 * peer's end? Of a Unix socket nobody can tell. */
static bool peer_goes_on(int fd)
{
#ifdef __linux__
    struct tcp_info tcp = { 0 };
    socklen_t size = sizeof tcp;

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &size) == 0 &&
           (tcp.tcpi_state == TCP_ESTABLISHED || tcp.tcpi_state == TCP_FIN_WAIT1 ||
            tcp.tcpi_state == TCP_FIN_WAIT2);
#else
    return (void)fd, false;
#endif
}

/* Finds bytes that wait, and the end of either half. */
static int check(kp_job *job, const struct link *link)
{
    const kp_socket_options *o = job->ctx;
    int rc = kp__peek(link->fd);
    bool ours = rc == -ECONNRESET && peer_goes_on(link->fd), gone = !ours && kp__is_gone(-rc);

    if (rc == 0)
        rc = own_half(link);
    else if (ours)
        rc = -EPIPE;
    if (rc == 0)
        return 0;
    if (o->counts)
        kp__count(rc > 0 ? &o->counts->unread : &o->counts->ended, 1);
    if (rc > 0)
        return fail(job, EPROTO, job->kind == KP_JOB_RESET ? "given back with bytes unread"
                                                           : "bytes came while it was idle");
    rc = fail(job, -rc, rc == -ECONNRESET ? "the other side has ended it"
                        : rc == -EPIPE    ? "the borrower has ended its half of it"
                                          : strerror(-rc));
    return gone ? KP_EGONE : rc;
}

static int validate(kp_job *job, void *resource)
{
    return check(job, resource);
}

static int reset(kp_job *job, void *resource)
{
    struct link *link = resource;
    int rc = check(job, link);

    if (rc)
        return rc;
    rc = make_ready(job->ctx, link->fd);
    return rc == 0 ? 0 : fail(job, rc, strerror(rc));
}

/* All that reset does, since it takes no time. If something is wrong, reset will say what. */
static bool is_clean(void *resource, void *ctx)
{
    const struct link *link = resource;

    return kp__peek(link->fd) == 0 && own_half(link) == 0 && make_ready(ctx, link->fd) == 0;
}

static int destroy(kp_job *job, void *resource)
{
    const kp_socket_options *o = job->ctx;
    struct link *link = resource;

    if (o->on_close)
        o->on_close(job, link->fd, o->ctx);
    (void)close(link->fd);
    free(link);
    if (o->counts)
        kp__count(&o->counts->closed, 1);
    return 0;
}

/* The parent's connection goes on; only this process's descriptor of it is closed. The memory
 * stays, for the parent's leases still point to it; they find no descriptor there. */
static int abandon(kp_job *job, void *resource)
{
    struct link *link = resource;

    (void)job;
    (void)close(link->fd);
    link->fd = -1;
    return 0;
}

static int descriptor(void *resource, void *ctx)
{
    (void)ctx;
    return ((const struct link *)resource)->fd;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_socket_options *o, const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!kp__is_time(o->connect_timeout_ms))
        return "socket.connect_timeout_ms";
    if (!kp__is_time(o->io_timeout_ms))
        return "socket.io_timeout_ms";
    if (!kp__is_time(o->keepalive_ms))
        return "socket.keepalive_ms";
    *sentence = "it must be a time";
    if (o->keepalive_every_ms < 0)
        return "socket.keepalive_every_ms";
    *sentence = "it must be at least 1";
    if (o->keepalive_probes < 0)
        return "socket.keepalive_probes";
    *sentence = "it must be 1 or KP_OFF";
    if (o->nodelay != 0 && o->nodelay != 1 && o->nodelay != KP_OFF)
        return "socket.nodelay";
    if (o->nonblocking != 0 && o->nonblocking != 1 && o->nonblocking != KP_OFF)
        return "socket.nonblocking";
    *sentence = KP__NEWER;
    if (KP__SAYS_MORE(o))
        return "socket.reserved";
    return NULL;
}

int kp_socket_fill(const kp_socket_options *socket, kp_options *options)
{
    static const size_t none[] = { KP__NO_STRING };
    static const kp_socket_options defaults;
    const char *field, *sentence;
    void *kept;

    if (!options)
        return kp__fill_none();
    if (!socket)
        socket = &defaults;
    field = impossible(socket, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    kept = kp__keep(socket, sizeof *socket, none, &options->driver);
    if (!kept)
        return KP_ENOMEM;
    options->driver = (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .is_clean = is_clean, .abandon = abandon, .fd = KP__HAS_FD ? descriptor : NULL,
        .ctx = kept, .drop_ctx = kp__drop_kept,
    };
    return 0;
}

int kp_socket_open(const kp_socket_options *socket, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_socket_fill(socket, &options);

    return kp__open_filled(rc, &options, kp__unkeep, out);
}
