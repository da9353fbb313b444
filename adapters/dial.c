/* SPDX-License-Identifier: MIT
 *
 * Stream sockets within a deadline. A name is resolved by a thread that is left behind if the
 * deadline comes first; it frees what it found by itself.
 */
#include "dial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- time ------------------------------------------------------------------------------------ */

int64_t kp__now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t kp__until_ms(int64_t within_ms)
{
    return kp__now_ms() + (within_ms > INT_MAX ? INT_MAX : within_ms);
}

int kp__left_ms(int64_t until_ms)
{
    int64_t left = until_ms - kp__now_ms();

    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

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
        return "the path is longer than a Unix socket's may be";
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
            return "an IPv6 address is written [address]:port";
    }
    if (stop == host || (size_t)(stop - host) >= sizeof out->host)
        return "it has no host, or one that is too long";
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
                       : code == EMFILE     ? ", this process may open no more"
                                            : "";
    char at[300];

    kp__place_text(place, at, sizeof at);
    fault->code = code;
    (void)snprintf(fault->text, sizeof fault->text, "%s (%d)%s: %s", strerror(code), code, hint,
                   at);
    return -1;
}

/* ETIMEDOUT is the kernel's: its probes were not answered. */
bool kp__is_gone(int code)
{
    return code == ECONNRESET || code == EPIPE || code == ECONNREFUSED || code == ECONNABORTED ||
           code == ETIMEDOUT || code == EHOSTUNREACH || code == EHOSTDOWN || code == ENETUNREACH;
}

static int no_address(struct kp__fault *fault, const struct kp__place *place, int code)
{
    const char *what = code == EAI_NONAME ? "the host is unknown"
                                          : "the host could not be looked up";

    fault->code = code;
    (void)snprintf(fault->text, sizeof fault->text, "%s, %s (%d): %s", what, gai_strerror(code),
                   code, place->host);
    return -1;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Shared by who asks and the thread that resolves; the last one frees it. */
struct lookup {
    pthread_mutex_t  lock;
    pthread_cond_t   ended;
    bool             done, left;        /* resolved; nobody waits for it any more */
    int              code, number;      /* of getaddrinfo; errno, where it says EAI_SYSTEM */
    struct kp__place place;
    struct addrinfo *found;
};

static int ask(const struct kp__place *place, int flags, struct addrinfo **found)
{
    struct addrinfo hints = { 0 };

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    *found = NULL;
    return getaddrinfo(place->host, place->port, &hints, found);
}

static void lookup_free(struct lookup *l)
{
    (void)pthread_mutex_destroy(&l->lock);
    (void)pthread_cond_destroy(&l->ended);
    free(l);
}

static void *resolve(void *arg)
{
    struct lookup *l = arg;
    bool left;

    l->code = ask(&l->place, 0, &l->found);
    l->number = errno;
    (void)pthread_mutex_lock(&l->lock);
    l->done = true;
    left = l->left;
    (void)pthread_cond_signal(&l->ended);
    (void)pthread_mutex_unlock(&l->lock);
    if (left) {
        if (l->found)
            freeaddrinfo(l->found);
        lookup_free(l);
    }
    return NULL;
}

/* A thread that takes no signal of the program's. */
static int start(struct lookup *l)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int rc;

    (void)sigfillset(&all);
    rc = pthread_attr_init(&attr);
    if (rc)
        return rc;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attr, resolve, l);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return rc;
}

static struct lookup *lookup_make(const struct kp__place *place)
{
    struct lookup *l = calloc(1, sizeof *l);
    pthread_condattr_t attr;

    if (!l)
        return NULL;
    l->place = *place;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
    return l;
}

/* Returns whether it was resolved; if not, it is the thread's from now on. */
static bool wait_for(struct lookup *l, int64_t until_ms)
{
    struct timespec until;
    bool done;

    until.tv_sec = (time_t)(until_ms / 1000);
    until.tv_nsec = (long)(until_ms % 1000) * 1000000;
    (void)pthread_mutex_lock(&l->lock);
    while (!l->done && pthread_cond_timedwait(&l->ended, &l->lock, &until) != ETIMEDOUT)
        continue;
    done = l->done;
    l->left = !done;
    (void)pthread_mutex_unlock(&l->lock);
    return done;
}

/* The addresses of a host; or NULL and why not. */
static struct addrinfo *addresses(const struct kp__place *place, int64_t until_ms,
                                  struct kp__fault *fault)
{
    struct addrinfo *found;
    struct lookup *l;
    int code;

    if (ask(place, AI_NUMERICHOST, &found) == 0)
        return found;                   /* no name: nothing to wait for */
    l = lookup_make(place);
    if (!l || start(l) != 0) {
        if (l)
            lookup_free(l);
        (void)kp__fault_say(fault, place, EAGAIN);
        return NULL;
    }
    if (!wait_for(l, until_ms)) {
        fault->code = ETIMEDOUT;
        (void)snprintf(fault->text, sizeof fault->text,
                       "the host could not be looked up within the time (%d): %s", ETIMEDOUT,
                       place->host);
        return NULL;
    }
    found = l->found;
    code = l->code;
    if (code == EAI_SYSTEM)
        (void)kp__fault_say(fault, place, l->number);
    else if (code)
        (void)no_address(fault, place, code);
    lookup_free(l);
    return found;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Wait for what connect began. */
static int connected(int fd, int64_t until_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    socklen_t size = sizeof(int);
    int n, code = 0;

    do {
        n = poll(&p, 1, kp__left_ms(until_ms));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno;
    if (n == 0)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno;
}

static int connect_tcp(int fd, const struct addrinfo *a, int64_t until_ms)
{
    int flags = fcntl(fd, F_GETFL), code = 0;

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        code = errno;
        if (code == EINPROGRESS || code == EINTR)
            code = connected(fd, until_ms);
    }
    if (code == 0 && fcntl(fd, F_SETFL, flags) < 0)
        code = errno;
    return code;
}

/* A Unix socket connects at once, or waits for room in the backlog: without O_NONBLOCK, for with it
 * there is nothing to poll for. */
static int connect_unix(int fd, const struct sockaddr_un *to, int64_t until_ms)
{
    struct timeval none = { 0 };
    int code;

    do {
        int left = kp__left_ms(until_ms);
        struct timeval tv = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };

        if (left == 0)
            return ETIMEDOUT;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
        code = connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 ? 0 : errno;
    } while (code == EINTR);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return code == EAGAIN ? ETIMEDOUT : code;
}

static int dial_path(const struct kp__place *place, int64_t until_ms, struct kp__fault *fault)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code;

    if (fd < 0)
        return kp__fault_say(fault, place, errno);
    memcpy(to.sun_path, place->path, strlen(place->path));
    code = connect_unix(fd, &to, until_ms);
    if (code == 0)
        return fd;
    (void)close(fd);
    return kp__fault_say(fault, place, code);
}

/* Each address has its share of what is left, so that a silent one leaves time for the others. */
static int dial_host(const struct kp__place *place, int64_t until_ms, struct kp__fault *fault)
{
    struct addrinfo *all = addresses(place, until_ms, fault), *a;
    int fd = -1, code = 0, rest = 0;

    if (!all)
        return -1;
    for (a = all; a; a = a->ai_next)
        rest++;
    for (a = all; a; a = a->ai_next, rest--) {
        int64_t until = kp__now_ms() + kp__left_ms(until_ms) / rest;

        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        code = fd < 0 ? errno : connect_tcp(fd, a, until);
        if (code == 0)
            break;
        if (fd >= 0)
            (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(all);
    return fd >= 0 ? fd : kp__fault_say(fault, place, code);
}

int kp__dial(const struct kp__place *place, int64_t within_ms, struct kp__fault *fault)
{
    int64_t until_ms = kp__until_ms(within_ms);

    return *place->path ? dial_path(place, until_ms, fault) : dial_host(place, until_ms, fault);
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

int kp__stirred(int fd)
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
