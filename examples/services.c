/* SPDX-License-Identifier: MIT
 *
 * HTTP clients for three services, which run in this program. Users and orders answer 503 to the
 * first call: a GET is sent again, a POST is not, because it may have taken effect. Payments are
 * down: after two failures their circuit is open, and callers are told so at once. A successful
 * call leaves its connection to the next one.
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

/* One request; HEAD comes from the pool, which checks whether the service is there. */
static int answer(struct service *s, int fd)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char bad[] = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n";
    char              request[2048];
    const char       *reply = good;
    ssize_t           n = recv(fd, request, sizeof request, 0);

    if (n <= 0)
        return -1;
    if (memcmp(request, "HEAD", 4) != 0 && s->failures_left-- > 0)
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

struct call { const char *method, *origin, *path; int64_t within_ms; int sent; };

/* 0, a negative HTTP status, or -1: there was no answer. */
static int send_call(kp_lease *lease, void *arg)
{
    struct call *call = arg;
    char         url[100];
    long         status = 0;

    snprintf(url, sizeof url, "%s%s", call->origin, call->path);
    curl_easy_setopt(kp_http(lease), CURLOPT_URL, url);
    if (strcmp(call->method, "POST") == 0)
        curl_easy_setopt(kp_http(lease), CURLOPT_POSTFIELDS, "");
    call->sent++;
    if (curl_easy_perform(kp_http(lease)) != CURLE_OK)
        return -1;
    curl_easy_getinfo(kp_http(lease), CURLINFO_RESPONSE_CODE, &status);
    return status == 200 ? 0 : -(int)status;
}

/* What the error table calls retryable was never sent; what was sent is retried only for a GET. */
static bool may_repeat(int status, void *arg)
{
    const struct call *call = arg;

    return kp_retry_helps(status, NULL) || (status == -503 && strcmp(call->method, "GET") == 0);
}

static int send_by_plan(kp_pool *pool, struct call *call)
{
    kp_why  why = { 0 };
    kp_plan plan = {
        .ask = { .within_ms = call->within_ms, .tag = call->path, .why = &why },
        .schedule = { .times = 3, .first_ms = 10, .jitter_pct = 50 },
        .retry_if = may_repeat,
    };
    int rc = kp_use(pool, kp_str(call->origin), &plan, send_call, call);

    printf("%s %s: %d after %d calls. %s\n", call->method, call->path, rc, call->sent, why.text);
    return rc;
}

int main(void)
{
    struct service  users = { .failures_left = 1 }, orders = { .failures_left = 1 };
    struct service  payments = { .failures_left = -1 };
    kp_http_counts  counts = { 0 };
    kp_http_options http = { .probe = "/health", .user_agent = "example", .counts = &counts };
    kp_options      more = { .limits = { .max_live = 4, .retry_first_ms = KP_NONE,
                                         .excess_ttl_ms = KP_MINUTES(10),
                                         .breaker_failures = 2 } };
    kp_pool        *pool;
    bool            ok;

    if (start(&users) || start(&orders) || start(&payments) ||
        kp_http_open(&http, &more, &pool) < 0)
        return 1;
    struct call user = { "GET", users.origin, "/users/7", KP_SECONDS(5), 0 };
    struct call order = { "POST", orders.origin, "/orders", KP_SECONDS(10), 0 };
    struct call pay = { "POST", payments.origin, "/pay", KP_SECONDS(15), 0 };

    ok = send_by_plan(pool, &user) == 0 && user.sent == 2;
    ok = send_by_plan(pool, &order) == -503 && order.sent == 1 && ok;
    for (int i = 0; i < 10; i++)
        ok = send_by_plan(pool, &order) == 0 && ok;
    ok = send_by_plan(pool, &pay) == KP_EBREAKER && pay.sent == 0 && ok;
    ok = kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) == 0 && ok;
    counts = kp_http_counts_read(&counts);
    stop(&users);
    stop(&orders);
    stop(&payments);
    printf("%d clients for %d calls\n", (int)counts.opened, user.sent + order.sent);
    return !ok || counts.opened != 3;           /* a retry has another one than what failed */
}
