/* SPDX-License-Identifier: MIT
 *
 * A server that is a child of the test, for adapters that need no daemon: it listens on a port of
 * 127.0.0.1, and on a Unix socket if it has a path, and answers what comes, each in turn.
 */
#ifndef TESTS_ADAPTERS_PEER_H
#define TESTS_ADAPTERS_PEER_H

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct peer {
    int         port;
    const char *path;                   /* NULL: none */
    bool      (*answer)(int fd);        /* something has come; false: close it */
    pid_t       pid;
};

static inline int peer_listen(const struct sockaddr *at, socklen_t size)
{
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    return bind(fd, at, size) == 0 && listen(fd, 64) == 0 ? fd : -1;
}

static inline int peer_listen_at_path(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    (void)unlink(path);
    return peer_listen((struct sockaddr *)&at, sizeof at);
}

/* Until it is killed. Says a byte when it listens. A descriptor below 0 is passed over by poll. */
static inline void peer_serve(const struct peer *peer, int ready)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)peer->port) };
    struct pollfd all[256] = { { 0 } };
    nfds_t n = 2;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all[0].fd = peer_listen((struct sockaddr *)&at, sizeof at);
    all[1].fd = peer->path ? peer_listen_at_path(peer->path) : -1;
    all[0].events = all[1].events = POLLIN;
    if (all[0].fd < 0 || (peer->path && all[1].fd < 0) || write(ready, "", 1) != 1)
        _exit(1);
    while (poll(all, n, -1) > 0 || errno == EINTR) {
        for (nfds_t i = 2; i < n; i++) {
            if (all[i].revents && !peer->answer(all[i].fd)) {
                (void)close(all[i].fd);
                all[i].fd = -1;
            }
        }
        for (nfds_t i = 0; i < 2; i++) {
            if (all[i].revents && n < sizeof all / sizeof *all) {
                all[n].fd = accept4(all[i].fd, NULL, NULL, SOCK_CLOEXEC);
                all[n].events = POLLIN;
                all[n++].revents = 0;
            }
        }
        while (n > 2 && all[n - 1].fd < 0)
            n--;
    }
    _exit(1);
}

static inline int peer_start(struct peer *peer)
{
    pid_t parent = getpid();
    int ready[2];
    char byte;
    ssize_t n;

    if (pipe(ready) != 0)
        return -1;
    peer->pid = fork();
    if (peer->pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(1);
        (void)close(ready[0]);
        peer_serve(peer, ready[1]);
    }
    (void)close(ready[1]);
    n = read(ready[0], &byte, 1);
    (void)close(ready[0]);
    return n == 1 ? 0 : -1;
}

static inline void peer_kill(struct peer *peer)
{
    (void)kill(peer->pid, SIGKILL);
    (void)waitpid(peer->pid, NULL, 0);
}

#endif
