/* SPDX-License-Identifier: MIT
 *
 * HTTP clients for three services: a struct as the key, clients that expire when they are not
 * needed, and a retry that knows which calls may be repeated. Here the users answer 503 once (a
 * GET: repeated), and so do the payments (a POST: not).
 */
#include <keyedpool.h>
#include <stdio.h>
#include <stdlib.h>

struct service { const char *name, *base_url; int timeout_s; };

/* The fields tell the pool what to compare and copy: strings by their text, never by their
 * address. */
static const kp_field service_fields[] = {
    KP_STR(struct service, name), KP_STR(struct service, base_url),
    KP_INT(struct service, timeout_s), KP_END,
};
static const struct service users = { "users", "https://users.example", 5 };
static const struct service payments = { "payments", "https://payments.example", 15 };

struct client { const struct service *config; };
struct call {
    const char *method, *path;
    int         failures_left;          /* of the pretended server */
    int         sent;
};

enum { HTTP_UNAVAILABLE = -503 };

static int make_client(kp_job *job, void **out)
{
    struct client *c = malloc(sizeof *c);

    if (!c)
        return kp_job_fail(job, 12, "no memory for a client");
    /* the pool's own copy, which stays as long as this resource does */
    c->config = job->key.data;
    *out = c;
    return 0;
}

static int drop_client(kp_job *job, void *client)
{
    free(client);
    return (void)job, 0;
}

static int send_call(kp_lease *lease, void *arg)
{
    const struct client *client = lease->resource;
    struct call         *call = arg;

    call->sent++;
    printf("%s %s%s\n", call->method, client->config->base_url, call->path);
    return call->failures_left-- > 0 ? HTTP_UNAVAILABLE : 0;
}

/* What the error table calls retryable never left; of what did leave, only a GET may be sent
 * again. */
static bool may_repeat(int status, void *arg)
{
    const struct call *call = arg;

    return kp_retry_helps(status, NULL) || (status == HTTP_UNAVAILABLE && call->method[0] == 'G');
}

static int call_service(kp_pool *pool, const struct service *service, struct call *call)
{
    kp_plan plan = {
        .ask = { .within_ms = KP_SECONDS(30), .tag = "call_service" },
        .schedule = { .times = 3, .first_ms = 20, .jitter_pct = 50 },
        .retry_if = may_repeat,
    };

    return kp_use(pool, KP_KEY(service), &plan, send_call, call);
}

int main(void)
{
    kp_options options = {
        .name = "http",
        .driver = { .create = make_client, .destroy = drop_client },
        .key_type = { .size = sizeof(struct service), .fields = service_fields },
        .limits = { .min_live = 2, .max_live = 15, .excess_ttl_ms = KP_MINUTES(10) },
    };
    struct call user = { "GET", "/users/7", 1, 0 }, payment = { "POST", "/payments", 1, 0 };
    kp_pool    *pool;
    int         user_rc, payment_rc;

    if (kp_pool_open(&options, &pool) < 0)
        return 1;
    user_rc = call_service(pool, &users, &user);
    payment_rc = call_service(pool, &payments, &payment);
    printf("user: %d after %d calls\n", user_rc, user.sent);
    printf("payment: %d after %d\n", payment_rc, payment.sent);
    if (kp_pool_close(pool, KP_CLOSE_WAIT, KP_SECONDS(5)) != 0)
        return 1;
    return !(user_rc == 0 && user.sent == 2 && payment_rc == HTTP_UNAVAILABLE && payment.sent == 1);
}
