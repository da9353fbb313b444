/* SPDX-License-Identifier: MIT
 *
 * Three HTTP calls at once on one thread: two to one service and one to another, each on a
 * connection of its own, which the next call finds open. The services run in the same loop, so that
 * the example needs no server; they answer once all three GETs have arrived.
 */
#include <keyedpool_epoll.h>
#include <keyedpool_http.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

enum { SERVICES = 2, CALLS = 3, ROUNDS = 2 };

static kp_epoll loop;

/* ---- the services: sockets that listen, and those that were accepted ------------------------- */

static struct peer {
    kp_watch watch;
    int      fd;
    bool     asks;                      /* its GET waits for the others */
} peers[SERVICES + CALLS];
static int peers_count, asking;

static void heard(kp_watch *watch, int events);

static int listen_to(struct peer *p)
{
    return loop.watcher.start(&loop.watcher, &p->watch, p->fd, KP_WATCH_READ, KP_OFF);
}

static int add_peer(int fd)
{
    struct peer *p = &peers[peers_count];

    if (fd < 0 || peers_count == SERVICES + CALLS)
        return -1;
    *p = (struct peer){ .watch = { .told = heard, .arg = p }, .fd = fd };
    peers_count++;
    return listen_to(p);
}

static void answer(int fd)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

    (void)!send(fd, good, sizeof good - 1, MSG_NOSIGNAL);
}

/* HEAD comes from the pool, which checks whether the service is there. */
static void heard_request(struct peer *p)
{
    char    request[2048];
    ssize_t n = recv(p->fd, request, sizeof request, 0);

    if (n <= 0) {
        close(p->fd);
        p->fd = -1;
        return;
    }
    if (memcmp(request, "HEAD", 4) == 0) {
        (void)!send(p->fd, "HTTP/1.1 204 No Content\r\n\r\n", 27, MSG_NOSIGNAL);
    } else {
        p->asks = true;
        asking++;
    }
    for (int i = 0; asking == CALLS && i < peers_count; i++) {
        if (peers[i].asks)
            answer(peers[i].fd);
        peers[i].asks = false;
    }
    asking %= CALLS;
}

static void heard(kp_watch *watch, int events)
{
    struct peer *p = watch->arg;

    (void)events;
    if (p - peers < SERVICES)
        (void)add_peer(accept(p->fd, NULL, NULL));
    else
        heard_request(p);
    if (p->fd >= 0)
        (void)listen_to(p);
}

static int start_service(char *origin, size_t room)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) < 0)
        return -1;
    snprintf(origin, room, "http://127.0.0.1:%d", ntohs(at.sin_port));
    return add_peer(fd);
}

/* ---- the calls ------------------------------------------------------------------------------- */

struct call {
    kp_request request;
    kp_why     why;
    kp_lease   lease;
    char       url[80], body[16];
    int        rounds_left;
    bool       failed;
};

static size_t keep(char *data, size_t one, size_t size, void *into)
{
    struct call *call = into;

    snprintf(call->body, sizeof call->body, "%.*s", (int)size, data);
    return one * size;
}

/* 3. It has its answer, or failed; its connection goes to the next call. */
static void on_answer(CURL *curl, CURLcode result, void *arg)
{
    struct call *call = arg;

    (void)curl;
    printf("%s: %s %s\n", call->url, curl_easy_strerror(result), call->body);
    call->failed = call->failed || result != CURLE_OK;
    call->rounds_left--;
    kp_release(&call->lease);
}

/* 2. It has a connection. */
static void on_lease(kp_request *request, int status, kp_lease lease)
{
    struct call *call = request->arg;

    call->lease = lease;
    if (status == 0) {
        curl_easy_setopt(kp_http(&lease), CURLOPT_URL, call->url);
        curl_easy_setopt(kp_http(&lease), CURLOPT_WRITEFUNCTION, keep);
        curl_easy_setopt(kp_http(&lease), CURLOPT_WRITEDATA, (void *)call);
        status = kp_http_start(&lease, on_answer, call);
    }
    if (status == 0)
        return;
    printf("%s: %s. %s\n", call->url, kp_strerror(status), call->why.text);
    call->failed = true;
    call->rounds_left--;
    kp_release(&call->lease);
}

/* 1. It asks for one. */
static int begin(kp_pool *pool, struct call *call, const char *origin, const char *path)
{
    snprintf(call->url, sizeof call->url, "%s%s", origin, path);
    call->request = (kp_request){ .loop = loop.loop, .done = on_lease, .arg = call };
    return kp_get_start(pool, kp_str(origin), KP_ASK(.within_ms = 5000, .why = &call->why),
                        &call->request);
}

int main(void)
{
    static const char *const paths[CALLS] = { "/users/7", "/orders/1", "/orders/2" };
    struct call     calls[CALLS] = { { .rounds_left = ROUNDS }, { .rounds_left = ROUNDS },
                                     { .rounds_left = ROUNDS } };
    char            origins[SERVICES][40];
    kp_http_counts  counts = { 0 };
    kp_http_options http = { .counts = &counts, .watcher = &loop.watcher };
    kp_options      more = { .limits = { .max_live = 2 } };
    kp_pool        *pool;
    bool            ok = true;

    signal(SIGPIPE, SIG_IGN);
    if (kp_epoll_open(&loop) != 0 || start_service(origins[0], sizeof origins[0]) != 0 ||
        start_service(origins[1], sizeof origins[1]) != 0)
        return 1;
    more.loop = loop.loop;
    if (kp_http_open(&http, &more, &pool) != 0)
        return 1;
    for (int left = ROUNDS; ok && left > 0; left--) {
        for (int i = 0; i < CALLS; i++)
            ok = begin(pool, &calls[i], origins[i > 0], paths[i]) == 0 && ok;
        for (int i = 0; ok && i < CALLS; i++) {
            while (calls[i].rounds_left == left)
                (void)kp_epoll_turn(&loop, KP_OFF);
            ok = !calls[i].failed;
        }
    }
    (void)kp_pool_close(pool, KP_CLOSE_NOW, 0);
    for (int i = SERVICES; i < peers_count; i++) {      /* they hear of it */
        while (peers[i].fd >= 0)
            (void)kp_epoll_turn(&loop, KP_OFF);
    }
    for (int i = 0; i < SERVICES; i++) {
        loop.watcher.stop(&loop.watcher, &peers[i].watch);
        close(peers[i].fd);
    }
    counts = kp_http_counts_read(&counts);
    printf("%d connections for %d calls\n", (int)counts.sockets, ROUNDS * CALLS);
    return kp_epoll_close(&loop) != 0 || !ok || counts.sockets != CALLS;
}
