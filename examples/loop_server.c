/* SPDX-License-Identifier: MIT
 *
 * An event loop and nothing else: one thread, one poll(), connections that are made without
 * blocking, and a backend in the same loop, so that the example needs no server. Eight queries
 * share two connections; the pool has no thread of its own, the loop is its keeper. This loop
 * stands for your own; keyedpool_epoll.h is a ready-made one (own_driver.c).
 */
#include <keyedpool.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WATCHES = 32, QUESTIONS = 8, CONNECTIONS = 2 };

/* ---- the loop: who wants to hear of which descriptor ----------------------------------------- */

static struct watch {
    int   fd;
    void (*ready)(void *arg, int fd);
    void *arg;
} watched[WATCHES];
static int watches;

static void watch(int fd, void (*ready)(void *, int), void *arg)
{
    if (watches < WATCHES)
        watched[watches++] = (struct watch){ fd, ready, arg };
}

static void unwatch(int fd)
{
    for (int i = 0; i < watches; i++)
        if (watched[i].fd == fd)
            watched[i--] = watched[--watches];
}

static void turn(kp_loop *loop)
{
    struct pollfd p[WATCHES + 1];
    int64_t next = kp_loop_dispatch(loop);      /* answers, upkeep; ms until it has more */
    int n = watches;

    for (int i = 0; i < n; i++)
        p[i] = (struct pollfd){ .fd = watched[i].fd, .events = POLLIN };
    p[n] = (struct pollfd){ .fd = kp_loop_fd(loop), .events = POLLIN };
    if (poll(p, (nfds_t)n + 1, next > 1000 || next < 0 ? 1000 : (int)next) <= 0)
        return;
    for (int i = 0; i < n; i++)
        for (int w = 0; p[i].revents && w < watches; w++)
            if (watched[w].fd == p[i].fd) {
                watched[w].ready(watched[w].arg, p[i].fd);
                break;
            }
}

/* ---- the backend: greets a connection, then answers each byte with the next one -------------- */

static void backend(void *arg, int fd)
{
    char c;

    (void)arg;
    if (read(fd, &c, 1) == 1) {
        c++;
        (void)!write(fd, &c, 1);
    } else {
        unwatch(fd);
        close(fd);
    }
}

/* ---- the driver: a connection is ready when the backend has greeted -------------------------- */

typedef struct connection {
    int     fd;
    kp_job *job;                                /* while it is being made */
} connection;

static void greeted(void *arg, int fd)
{
    connection *c = arg;
    char hello;
    int  status = read(fd, &hello, 1) == 1 ? 0 : kp_job_fail(c->job, 0, "hung up");

    unwatch(fd);
    kp_job_done(c->job, status, c);             /* the job is gone after this */
}

static int connect_start(kp_job *job, void **out)
{
    connection *c = malloc(sizeof *c);
    int ends[2];

    (void)out;
    if (!c || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        free(c);
        return kp_job_fail(job, 0, "no socket");
    }
    *c = (connection){ .fd = ends[0], .job = job };
    watch(ends[1], backend, NULL);
    (void)!write(ends[1], "!", 1);              /* what a server would say on its own */
    watch(c->fd, greeted, c);
    return KP_PENDING;
}

static int disconnect(kp_job *job, void *resource)
{
    connection *c = resource;

    (void)job;
    close(c->fd);
    free(c);
    return 0;
}

/* ---- the server's work: a question needs a connection, asks, gives it back ------------------- */

typedef struct question {
    kp_request request;
    kp_lease   lease;
    int        number;
} question;

static int answered, wrong;

static void on_answer(void *arg, int fd)
{
    question *q = arg;
    char c = 0;

    unwatch(fd);
    if (read(fd, &c, 1) != 1 || c != (char)('a' + q->number + 1))
        wrong++;
    printf("question %d: %c\n", q->number, c);
    answered++;
    kp_release(&q->lease);                      /* the next question gets it */
}

static void on_connection(kp_request *request, int status, kp_lease lease)
{
    question *q = request->arg;
    char c = (char)('a' + q->number);

    if (status != 0) {
        printf("question %d: %s\n", q->number, kp_strerror(status));
        answered++, wrong++;
        return;
    }
    q->lease = lease;
    watch(((connection *)lease.resource)->fd, on_answer, q);
    (void)!write(((connection *)lease.resource)->fd, &c, 1);
}

int main(void)
{
    static question q[QUESTIONS];
    kp_loop *loop;
    kp_pool *pool;

    if (kp_loop_open(&loop) != 0)
        return 1;
    kp_options options = {
        .driver = { .create = connect_start, .destroy = disconnect, .flags = KP_NEVER_BLOCKS },
        .limits = { .max_live = CONNECTIONS },
        .loop = loop,
    };
    if (kp_pool_open(&options, &pool) != 0)
        return 1;
    for (int i = 0; i < QUESTIONS; i++) {
        q[i].number = i;
        q[i].request = (kp_request){ .loop = loop, .done = on_connection, .arg = &q[i] };
        if (kp_get_start(pool, kp_str("backend"), KP_IN_S(5), &q[i].request) != 0)
            return 1;
    }
    kp_cancel(&q[QUESTIONS - 1].request);       /* its client went away */
    while (answered < QUESTIONS - 1)
        turn(loop);
    (void)kp_pool_close(pool, KP_CLOSE_NOW, 0);
    while (watches > 0)                         /* the backend hears of it */
        turn(loop);
    return kp_loop_close(loop) != 0 || wrong != 0;
}
