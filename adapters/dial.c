/* SPDX-License-Identifier: MIT
 *
 * Stream sockets within a deadline (dial.h): dialing is one state machine, which kp__dial drives
 * with poll, and an adapter that never blocks with a watcher.
 */
#include "dial_name.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- places ---------------------------------------------------------------------------------- */

static bool is_port(const char *text, size_t size)
{
    long n = 0;

    if (size < 1 || size > 5)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + text[i] - '0';
    }
    return n >= 1 && n <= 65535;
}

static const char *read_path(const char *text, size_t size, struct kp__place *out)
{
    if (size >= sizeof out->path)
        return "the path is too long for a Unix socket";
    memcpy(out->path, text, size);
    return NULL;
}

const char *kp__place_read(const char *text, size_t size, const char *port, struct kp__place *out)
{
    const char *end = text + size, *host = text, *stop;

    memset(out, 0, sizeof *out);
    if (size == 0 || memchr(text, '\0', size))
        return "it is neither host:port nor /path";
    if (*text == '/')
        return read_path(text, size, out);
    if (*text == '[') {
        host = text + 1;
        stop = memchr(text, ']', size);
        if (!stop)
            return "its [ is not closed";
        text = stop + 1;
    } else {
        stop = memchr(text, ':', size);
        if (!stop)
            stop = end;
        text = stop;
        if (stop < end && memchr(stop + 1, ':', (size_t)(end - stop - 1)))
            return "an IPv6 address must be written [address]:port";
    }
    if (stop == host || (size_t)(stop - host) >= sizeof out->host)
        return "it has no host, or one that is too long";
    if (memchr(host, '@', (size_t)(stop - host)))       /* a password may be before it */
        return "it has an @ in its host";
    memcpy(out->host, host, (size_t)(stop - host));
    if (text == end && port) {
        (void)snprintf(out->port, sizeof out->port, "%s", port);
        return NULL;
    }
    if (text == end || *text != ':' || !is_port(text + 1, (size_t)(end - text - 1)))
        return "its port is not a number from 1 to 65535";
    memcpy(out->port, text + 1, (size_t)(end - text - 1));
    return NULL;
}

void kp__place_text(const struct kp__place *place, char *buf, size_t size)
{
    bool v6 = strchr(place->host, ':') != NULL;

    if (*place->path)
        (void)snprintf(buf, size, "%s", place->path);
    else
        (void)snprintf(buf, size, "%s%s%s:%s", v6 ? "[" : "", place->host, v6 ? "]" : "",
                       place->port);
}

/* ---- faults ---------------------------------------------------------------------------------- */

int kp__fault_say(struct kp__fault *fault, const struct kp__place *place, int code)
{
    const char *hint = code == ECONNREFUSED ? ", nobody listens there"
                       : code == ENOENT     ? ", the path does not exist"
                       : code == ETIMEDOUT  ? ", no answer within the time"
                       : code == EMFILE     ? ", this process may not open more files"
                                            : "";
    char at[300];

    kp__place_text(place, at, sizeof at);
    fault->code = code;
    (void)snprintf(fault->text, sizeof fault->text, "%s (%d)%s: %s", strerror(code), code, hint,
                   at);
    return -1;
}

/* ETIMEDOUT comes from the kernel here: its keep-alive probes were not answered. */
bool kp__is_gone(int code)
{
    return code == ECONNRESET || code == EPIPE || code == ECONNREFUSED || code == ECONNABORTED ||
           code == ETIMEDOUT || code == EHOSTUNREACH || code == EHOSTDOWN || code == ENETUNREACH;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* A Unix socket connects at once, or waits for room in the backlog: in connect itself and without
 * O_NONBLOCK, since with it there would be nothing to poll for. */
static int connect_unix(int fd, const struct sockaddr_un *to, int64_t until_ns)
{
    struct timeval none = { 0 };
    int code;

    do {
        int left = kp__left_ms(until_ns);
        struct timeval tv = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };

        if (left == 0)
            return ETIMEDOUT;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
        code = connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 ? 0 : errno;
    } while (code == EINTR);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return code == EAGAIN ? ETIMEDOUT : code;
}

static int dial_path(const struct kp__place *place, int64_t until_ns, struct kp__fault *fault)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code;

    if (fd < 0)
        return kp__fault_say(fault, place, errno);
    memcpy(to.sun_path, place->path, strlen(place->path));
    code = connect_unix(fd, &to, until_ns);
    if (code == 0)
        return fd;
    (void)close(fd);
    return kp__fault_say(fault, place, code);
}

/* Over, without a socket. */
static int give_up(struct kp__dial *d, int code)
{
    if (d->all)
        freeaddrinfo(d->all);
    d->all = NULL;
    (void)kp__fault_say(&d->fault, d->place, code);
    return 0;
}

static int connected(struct kp__dial *d)
{
    freeaddrinfo(d->all);
    d->all = NULL;
    return 0;
}

/* 0; or ECONNREFUSED: nobody listens on that port, so the kernel could give its number to the very
 * socket that calls there, which has called itself. */
static int answered(int fd)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t size = sizeof here, other = sizeof there;

    return getsockname(fd, (struct sockaddr *)&here, &size) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &other) == 0 &&
           memcmp(&here, &there, sizeof here) == 0 ? ECONNREFUSED : 0;
}

/* Try the next address; `code` says how the one before failed. Each gets its share of the time
 * left, so that a silent one leaves time for the others. */
static int try_next(struct kp__dial *d, int code)
{
    while (d->next) {
        const struct addrinfo *a = d->next;

        d->next = a->ai_next;
        d->turn_ns = kp__until_ns(kp__left_ms(d->until_ns) / d->rest--);
        d->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        code = d->fd >= 0 && connect(d->fd, a->ai_addr, a->ai_addrlen) == 0 ? answered(d->fd)
                                                                            : errno;
        if (code == 0)
            return connected(d);
        if (d->fd >= 0 && (code == EINPROGRESS || code == EINTR))
            return POLLOUT;
        if (d->fd >= 0)
            (void)close(d->fd);
        d->fd = -1;
    }
    return give_up(d, code);
}

static int try_all(struct kp__dial *d, struct addrinfo *all)
{
    d->all = d->next = all;
    d->rest = 0;
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        d->rest++;
    return all ? try_next(d, 0) : 0;    /* none: the fault is filled in */
}

/* A path has nothing to wait for: it connects at once, or the backlog is full. */
static int begin_path(struct kp__dial *d)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };

    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(to.sun_path, d->place->path, strlen(d->place->path));
    if (d->fd >= 0 && connect(d->fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return 0;
    (void)kp__fault_say(&d->fault, d->place, errno);
    if (d->fd >= 0 && d->fault.code == EAGAIN)
        (void)snprintf(d->fault.text, sizeof d->fault.text,
                       "the server lets nobody in, its queue is full (%d): %s", EAGAIN,
                       to.sun_path);
    if (d->fd >= 0)
        (void)close(d->fd);
    d->fd = -1;
    return 0;
}

int kp__dial_begin(struct kp__dial *d, const struct kp__place *place, int64_t until_ns)
{
    struct addrinfo *all;

    memset(d, 0, sizeof *d);
    d->place = place;
    d->until_ns = d->turn_ns = until_ns;
    d->fd = -1;
    if (*place->path)
        return begin_path(d);
    all = kp__numeric(place);
    if (all)
        return try_all(d, all);
    d->lookup = kp__lookup_begin(place);
    return d->lookup ? POLLIN : give_up(d, errno);
}

int kp__dial_go_on(struct kp__dial *d, bool ready)
{
    socklen_t size = sizeof(int);
    int code = ETIMEDOUT;

    if (d->lookup) {
        struct kp__lookup *l = d->lookup;

        d->lookup = NULL;
        return try_all(d, kp__lookup_end(l, ready, d->place, &d->fault));
    }
    if (ready && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0)
        code = errno;
    if (code == 0)
        code = answered(d->fd);
    if (code == 0)
        return connected(d);
    (void)close(d->fd);
    d->fd = -1;
    return try_next(d, code);
}

void kp__dial_end(struct kp__dial *d)
{
    if (d->lookup)
        (void)kp__lookup_end(d->lookup, false, d->place, &d->fault);
    if (d->fd >= 0)
        (void)close(d->fd);
    if (d->all)
        freeaddrinfo(d->all);
}

int kp__dial_fd(const struct kp__dial *d)
{
    return d->lookup ? kp__lookup_fd(d->lookup) : d->fd;
}

static int dial_host(const struct kp__place *place, int64_t until_ns, struct kp__fault *fault)
{
    struct kp__dial d;
    int wanted = kp__dial_begin(&d, place, until_ns), flags;

    while (wanted) {
        struct pollfd p = { .fd = kp__dial_fd(&d), .events = (short)wanted };
        int n = poll(&p, 1, kp__left_ms(d.turn_ns));

        if (n >= 0 || errno != EINTR)
            wanted = kp__dial_go_on(&d, n > 0);
    }
    flags = d.fd < 0 ? 0 : fcntl(d.fd, F_GETFL);
    if (d.fd >= 0 && (flags < 0 || fcntl(d.fd, F_SETFL, flags & ~O_NONBLOCK) < 0)) {
        (void)kp__fault_say(&d.fault, place, errno);
        (void)close(d.fd);
        d.fd = -1;
    }
    *fault = d.fault;
    return d.fd;
}

int kp__dial(const struct kp__place *place, int64_t until_ns, struct kp__fault *fault)
{
    return *place->path ? dial_path(place, until_ns, fault) : dial_host(place, until_ns, fault);
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : errno;
}

int kp__tcp_set(int fd, bool nodelay, int idle_s, int every_s, int probes)
{
    int rc = nodelay ? set(fd, IPPROTO_TCP, TCP_NODELAY, 1) : 0;

    if (rc || idle_s == 0)
        return rc;
    rc = set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (rc == 0)
        rc = set(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
    if (rc == 0)
        rc = set(fd, IPPROTO_TCP, TCP_KEEPINTVL, every_s);
    return rc ? rc : set(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
}

/* ---- looking --------------------------------------------------------------------------------- */

int kp__peek(int fd)
{
    char byte;
    ssize_t n;

    do {
        n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return -ECONNRESET;
    if (n > 0)
        return 1;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}
