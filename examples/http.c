/* SPDX-License-Identifier: MIT
 *
 * HTTP clients for three services, which run in this program: users answer 503 to the first call (a
 * GET, so it is repeated), orders answer, and payments are down: after two failures their circuit
 * is open, and callers are told so at once. All of the orders take one connection.
 */
#include <keyedpool_http.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the services ---------------------------------------------------------------------------- */

enum { CLIENTS = 8 };

struct service {
    int       listener, failures_left;  /* -1: it is down */
    char      origin[40];
    bool      runs;
    pthread_t thread;
};

/* One request; HEAD is the pool's, which looks whether anybody is there. */
static int answer(struct service *s, int fd)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char bad[] = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n";
    char              request[2048];
    const char       *reply = good;
    ssize_t           n = recv(fd, request, sizeof request, 0);

    if (n <= 0)
        return -1;
    if (memcmp(request, "GET", 3) == 0 && s->failures_left-- > 0)
        reply = bad;
    return send(fd, reply, strlen(reply), MSG_NOSIGNAL) > 0 ? 0 : -1;
}

/* Until the listener is shut down. */
static void *serve(void *arg)
{
    struct service *s = arg;
    struct pollfd   p[1 + CLIENTS] = { { .fd = s->listener, .events = POLLIN } };
    int             n = 1, fd;

    while (poll(p, (nfds_t)n, -1) > 0) {
        for (int i = 1; i < n; i++) {
            if (p[i].revents && answer(s, p[i].fd) < 0) {
                close(p[i].fd);
                p[i].fd = -1;                   /* poll passes over it */
            }
        }
        if (p[0].revents && (fd = accept(s->listener, NULL, NULL)) < 0)
            break;
        if (p[0].revents && n <= CLIENTS)
            p[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
    }
    for (int i = 1; i < n; i++) {
        if (p[i].fd >= 0)
            close(p[i].fd);
    }
    return NULL;
}

static int start(struct service *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof at;

    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&at, size) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &size) < 0)
        return -1;
    snprintf(s->origin, sizeof s->origin, "http://127.0.0.1:%d", ntohs(at.sin_port));
    if (s->failures_left < 0)
        return 0;                               /* the port is taken, and nobody listens */
    s->runs = listen(s->listener, 16) == 0 && pthread_create(&s->thread, NULL, serve, s) == 0;
    return s->runs ? 0 : -1;
}

static void stop(struct service *s)
{
    if (s->runs) {
        shutdown(s->listener, SHUT_RDWR);
        pthread_join(s->thread, NULL);
    }
    close(s->listener);
}

/* ---- the callers ----------------------------------------------------------------------------- */

struct call { const char *origin, *path; int sent; };

/* 0, a negative HTTP status, or -1: there was no answer. */
static int send_call(kp_lease *lease, void *arg)
{
    struct call *call = arg;
    char         url[100];
    long         status = 0;

    snprintf(url, sizeof url, "%s%s", call->origin, call->path);
    curl_easy_setopt(kp_http(lease), CURLOPT_URL, url);
    call->sent++;
    if (curl_easy_perform(kp_http(lease)) != CURLE_OK)
        return -1;
    curl_easy_getinfo(kp_http(lease), CURLINFO_RESPONSE_CODE, &status);
    return status == 200 ? 0 : -(int)status;
}

/* A GET may be sent again, if it may help. */
static bool may_repeat(int status, void *arg)
{
    return (void)arg, status == -503 || kp_error_find(status)->retry == KP_RETRY_NOW;
}

static int get(kp_pool *pool, struct call *call, kp_why *why)
{
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(5), .tag = call->path, .why = why },
        .schedule = { .times = 1, .first_ms = 10 },
        .retry_if = may_repeat,
    };

    return kp_use(pool, kp_str(call->origin), &plan, send_call, call);
}

int main(void)
{
    struct service  users = { .failures_left = 1 }, orders = { 0 };
    struct service  payments = { .failures_left = -1 };
    kp_http_counts  counts = { 0 };
    kp_http_options http = { .probe = "/health", .user_agent = "example", .counts = &counts };
    kp_options      more = { .limits = { .max_live = 4, .retry_first_ms = KP_NONE,
                                         .breaker_failures = 2 } };
    kp_why          why = { 0 };
    kp_pool        *pool;
    int             user_rc, pay_rc, rc = 0;

    if (start(&users) || start(&orders) || start(&payments) ||
        kp_http_open(&http, &more, &pool) < 0)
        return 1;
    struct call user = { users.origin, "/users/7", 0 }, order = { orders.origin, "/orders", 0 };
    struct call pay = { payments.origin, "/pay", 0 };

    user_rc = get(pool, &user, &why);
    for (int i = 0; i < 10; i++)
        rc += get(pool, &order, &why);
    printf("user: %d after %d calls; orders: %d after %d\n", user_rc, user.sent, rc, order.sent);
    pay_rc = get(pool, &pay, &why);
    printf("payment: %d, %s\n", pay_rc, why.text);
    pay_rc = get(pool, &pay, &why);
    printf("payment: %d, %s\n", pay_rc, kp_strerror(pay_rc));
    rc = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0 || rc != 0;
    counts = kp_http_counts_read(&counts);
    stop(&users);
    stop(&orders);
    stop(&payments);
    /* A client whose call failed is not used again: users took two, orders one. */
    return rc || user_rc != 0 || user.sent != 2 || pay_rc != KP_EBREAKER || counts.opened != 3;
}
