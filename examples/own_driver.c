/* SPDX-License-Identifier: MIT
 *
 * A driver of your own on an event loop: TCP connections that begin with a password, made without
 * blocking. The loop is keyedpool_epoll.h; glue for another one would be used in the same way. When
 * the password changes, kp_rotate replaces the connections. A server that says nothing costs a
 * request its deadline and no more: then driver.cancel ends the connect. The server runs in the
 * same loop, so that the example needs none.
 */
#include <keyedpool_epoll.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static kp_epoll loop;

static int watch(kp_watch *w, int fd, int events, int64_t within_ms)
{
    return loop.watcher.start(&loop.watcher, w, fd, events, within_ms);
}

/* ---- the server: "+" to the right password; after that, the next letter to each letter ------- */

enum { PEERS = 8 };

static struct peer { kp_watch watch; int fd; bool known; } door, peers[PEERS];
static char password = 'a';
static bool mute;
static int  here, came;

static void heard(kp_watch *w, int events)
{
    struct peer *p = w->arg;
    char c;

    (void)events;
    if (recv(p->fd, &c, 1, 0) != 1) {
        close(p->fd);
        here--;
        return;
    }
    c = (char)(p->known ? c + 1 : c == password ? '+' : '-');
    p->known = true;
    if (!mute)
        (void)!send(p->fd, &c, 1, MSG_NOSIGNAL);
    watch(w, p->fd, KP_WATCH_READ, KP_OFF);
}

static void rang(kp_watch *w, int events)
{
    struct peer *p = &peers[came % PEERS];

    (void)events;
    *p = (struct peer){ .watch = { .told = heard, .arg = p }, .fd = accept(door.fd, NULL, NULL) };
    came++, here++;
    watch(&p->watch, p->fd, KP_WATCH_READ, KP_OFF);
    watch(w, door.fd, KP_WATCH_READ, KP_OFF);
}

static int serve(char *key, size_t size)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          n = sizeof at;

    door = (struct peer){ .watch.told = rang, .fd = socket(AF_INET, SOCK_STREAM, 0) };
    if (bind(door.fd, (struct sockaddr *)&at, n) != 0 || listen(door.fd, PEERS) != 0 ||
        getsockname(door.fd, (struct sockaddr *)&at, &n) != 0)
        return -1;
    snprintf(key, size, "%d", ntohs(at.sin_port));
    return watch(&door.watch, door.fd, KP_WATCH_READ, KP_OFF);
}

/* ---- the driver ------------------------------------------------------------------------------ */

typedef struct connection {
    kp_watch watch;
    kp_job  *job;                       /* while it is being made */
    int      fd;
    bool     said;                      /* the password */
} connection;

static int cancelled;

static void finish(connection *c, int status)
{
    kp_job *job = c->job;

    if (status == 0) {
        kp_job_done(job, 0, c);         /* the job is gone after this */
        return;
    }
    close(c->fd);
    free(c);
    kp_job_done(job, status, NULL);
}

/* It is connected, or cannot be, which send says; then the server has answered. */
static void go_on(kp_watch *w, int events)
{
    connection *c = w->arg;
    char        say = "?ab"[c->job->epoch], answer = 0;     /* the password of each epoch */

    (void)events;
    if (!c->said) {
        c->said = true;
        if (send(c->fd, &say, 1, MSG_NOSIGNAL) != 1)
            finish(c, kp_job_fail(c->job, errno, strerror(errno)));
        else if (watch(w, c->fd, KP_WATCH_READ, KP_OFF) != 0)
            finish(c, KP_ENOMEM);
        return;
    }
    if (recv(c->fd, &answer, 1, 0) != 1) {
        finish(c, kp_job_fail(c->job, 0, "hung up"));
    } else if (answer != '+') {
        kp_job_fail(c->job, 0, "wrong password");
        finish(c, KP_EREFUSED);         /* trying again cannot help */
    } else {
        finish(c, 0);
    }
}

static int connect_start(kp_job *job, void **out)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)atoi(job->key.data)) };
    connection *c = calloc(1, sizeof *c);

    (void)out;
    if (!c)
        return KP_ENOMEM;
    *c = (connection){ .watch = { .told = go_on, .arg = c }, .job = job,
                       .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
    job->scratch = c;                   /* for connect_cancel */
    if ((connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS) &&
        watch(&c->watch, c->fd, KP_WATCH_WRITE, KP_OFF) == 0)
        return KP_PENDING;
    (void)kp_job_fail(job, errno, strerror(errno));
    close(c->fd);
    free(c);
    return KP_ECREATE;
}

/* Nobody waits for it any more, or its time is over. */
static void connect_cancel(kp_job *job)
{
    connection *c = job->scratch;

    cancelled++;
    loop.watcher.stop(&loop.watcher, &c->watch);
    finish(c, kp_job_fail(job, ETIMEDOUT, "the server says nothing"));
}

static int disconnect(kp_job *job, void *resource)
{
    connection *c = resource;

    (void)job;
    close(c->fd);
    free(c);
    return 0;
}

/* ---- a question: borrow, say a letter, wait for the next one, give back ---------------------- */

typedef struct question {
    kp_request request;
    kp_lease   lease;
    kp_watch   watch;
    int        status;
} question;

static void answered(kp_watch *w, int events)
{
    question *q = w->arg;
    char      c = 0;

    if (events == 0 || recv(((connection *)q->lease.resource)->fd, &c, 1, 0) != 1 || c != 'y') {
        kp_discard(&q->lease);          /* too late, or wrong: nobody may use it again */
        q->status = -1;
        return;
    }
    kp_release(&q->lease);
    q->status = 0;
}

static void lent(kp_request *request, int status, kp_lease lease)
{
    question *q = request->arg;

    q->lease = lease;
    q->status = status;
    if (status != 0)
        return;
    q->status = KP_PENDING;
    q->watch = (kp_watch){ .told = answered, .arg = q };
    (void)!send(((connection *)lease.resource)->fd, "x", 1, MSG_NOSIGNAL);
    if (watch(&q->watch, ((connection *)lease.resource)->fd, KP_WATCH_READ, KP_SECONDS(5)) != 0)
        answered(&q->watch, 0);
}

static int ask(kp_pool *pool, const char *key, const kp_ask *how)
{
    question q = { .request = { .loop = loop.loop, .done = lent, .arg = &q },
                   .status = KP_PENDING };
    int      rc = kp_get_start(pool, kp_str(key), how, &q.request);

    while (rc == 0 && q.status == KP_PENDING)
        rc = kp_epoll_turn(&loop, KP_OFF);
    return rc ? rc : q.status;
}

int main(void)
{
    char     key[8];
    kp_why   why = { 0 };
    kp_pool *pool;
    int      first, second, late;

    if (kp_epoll_open(&loop) != 0 || serve(key, sizeof key) != 0)
        return 1;
    kp_options options = {
        .driver = { .create = connect_start, .destroy = disconnect, .cancel = connect_cancel,
                    .flags = KP_NEVER_BLOCKS },
        .loop = loop.loop,
    };
    if (kp_pool_open(&options, &pool) != 0)
        return 1;
    first = ask(pool, key, KP_IN_S(5));

    password = 'b';                     /* from now on; then tell the pool */
    (void)kp_rotate(pool, KP_EVERY_KEY, KP_NONE);
    second = ask(pool, key, KP_IN_S(5));

    mute = true;
    late = ask(pool, key, KP_ASK(.within_ms = 50, .flags = KP_FRESH, .why = &why));
    printf("%s; %s; %s\n", kp_strerror(first), kp_strerror(second), why.text);

    while (kp_pool_close(pool, KP_CLOSE_NOW, 0) > 0 || here > 0)
        kp_epoll_turn(&loop, 100);
    loop.watcher.stop(&loop.watcher, &door.watch);
    close(door.fd);
    return kp_epoll_close(&loop) != 0 || first != 0 || second != 0 || late != KP_ETIMEDOUT ||
           cancelled != 1 || came != 3;
}
