/* SPDX-License-Identifier: MIT
 *
 * The socket adapter, held to what every adapter must hold to. The server is a child of this
 * program that sends back what it gets.
 */
#include "adapters/conform.h"

#include <keyedpool_socket.h>

#include <stdlib.h>

#include "adapters/peer.h"
#include "adapters/server.h"

static char folder[64], path[80], none[80], place[32], closed[32];
static kp_key keys[2];

/* Their keys are known once it has started. */
static struct conform_wrong wrong[] = {
    { "a closed port", { 0 }, KP_ECREATE, ECONNREFUSED,
      { "refused", "nobody listens there", closed }, NULL, NULL },
    { "a path that is not there", { 0 }, KP_ECREATE, ENOENT,
      { "path does not exist", none }, NULL, NULL },
    { "an unknown host", { 0 }, KP_ECREATE, 0, { "the host", "nowhere.invalid" }, NULL, NULL },
    { "a key that is no place", { 0 }, KP_EREFUSED, EINVAL, { "port" }, NULL, NULL },
    { 0 },
};

/* ---- the server ------------------------------------------------------------------------------ */

static bool send_back(int fd)
{
    char buf[64];
    ssize_t n = recv(fd, buf, sizeof buf, 0);

    return n > 0 && send(fd, buf, (size_t)n, MSG_NOSIGNAL) == n;
}

static struct peer server = { .answer = send_back };

static int restart(void)
{
    return peer_start(&server);
}

static void end_server(void)
{
    peer_kill(&server);
}

static int start(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/keyedpool-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/s", folder);
    (void)snprintf(none, sizeof none, "%s/none", folder);
    server.port = server_free_port();
    server.path = path;
    (void)snprintf(place, sizeof place, "127.0.0.1:%d", server.port);
    keys[0] = kp_str(place);
    keys[1] = kp_str(path);
    wrong[1].key = kp_str(none);
    wrong[2].key = kp_str("nowhere.invalid:80");
    wrong[3].key = kp_str("nowhere");
    if (restart() != 0)
        return -1;
    (void)snprintf(closed, sizeof closed, "127.0.0.1:%d", server_free_port());
    wrong[0].key = kp_str(closed);
    return 0;
}

static void stop(void)
{
    end_server();
    (void)unlink(path);
    (void)rmdir(folder);
}

/* ---- the subject ----------------------------------------------------------------------------- */

static int fill(kp_options *options)
{
    return kp_socket_fill(NULL, options);
}

static int fd_of(void *resource)
{
    kp_lease lease = { .resource = resource };

    return kp_socket_fd(&lease);
}

static const char *use(void *resource)
{
    char buf[4];
    ssize_t n;

    if (send(fd_of(resource), "ping", 4, MSG_NOSIGNAL) != 4)
        return strerror(errno);
    n = recv(fd_of(resource), buf, sizeof buf, MSG_WAITALL);
    if (n != 4)
        return n < 0 ? strerror(errno) : "the server has gone";
    return memcmp(buf, "ping", 4) == 0 ? NULL : "another one's answer";
}

static void ruin(void *resource)
{
    (void)shutdown(fd_of(resource), SHUT_RDWR);
}

static void leave_answer(void *resource)
{
    struct pollfd p = { .fd = fd_of(resource), .events = POLLIN };

    (void)send(p.fd, "late", 4, MSG_NOSIGNAL);
    (void)poll(&p, 1, -1);
}

static bool sees_answer(void *resource)
{
    char byte;

    return recv(fd_of(resource), &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0;
}

static void leave_half(void *resource)
{
    (void)shutdown(fd_of(resource), SHUT_WR);
}

static bool cannot_send(void *resource)
{
    return send(fd_of(resource), "", 0, MSG_NOSIGNAL) < 0;
}

int main(void)
{
    static const struct conform_left left[] = {
        { "an answer that was not read", leave_answer, sees_answer },
        { "a half that was ended", leave_half, cannot_send },
        { 0 },
    };
    static const struct conform subject = {
        .name = "socket", .start = start, .stop = stop, .fill = fill, .keys = keys,
        .keys_count = 2, .use = use, .ruin = ruin, .left = left, .wrong = wrong,
        .kill = end_server, .restart = restart,
    };

    return conform_run(&subject);
}
