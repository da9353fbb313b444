/* SPDX-License-Identifier: MIT
 *
 * What it costs to choose among starved keys: N keys wait for the one lease that a budget allows,
 * each with a request of an event loop, and the lease goes round. A release takes the key at the
 * top of the heap, charges it and answers its request, which then asks again. So every turn is a
 * pick, a charge and an insertion among N keys. Prints one line of JSON per N.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "keyedpool.h"

enum { TURNS = 200000 };

struct seat {
    kp_request request;
    kp_lease lease;
    uint32_t key;
};

static kp_pool *pool;
static kp_loop *loop;
static struct seat *served;

/* The processor time of this process: other work on the machine does not count. */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int create(kp_job *job, void **out)
{
    (void)job;
    *out = malloc(1);
    return *out ? 0 : -1;
}

static int destroy(kp_job *job, void *resource)
{
    (void)job;
    free(resource);
    return 0;
}

static void done(kp_request *request, int status, kp_lease lease)
{
    served = request->arg;
    if (status != 0) {
        fprintf(stderr, "a request was refused: %d\n", status);
        exit(1);
    }
    served->lease = lease;
}

static void ask(struct seat *seat)
{
    static const kp_ask patient = { .within_ms = KP_OFF };

    seat->request = (kp_request){ .loop = loop, .done = done, .arg = seat };
    int rc = kp_get_start(pool, kp_bytes(&seat->key, sizeof seat->key), &patient, &seat->request);
    if (rc != 0) {
        fprintf(stderr, "kp_get_start: %s\n", kp_strerror(rc));
        exit(1);
    }
}

static struct seat *next_served(void)
{
    served = NULL;
    while (!served) kp_loop_dispatch(loop);
    return served;
}

static void weigh(kp_key key, kp_limits *limits, void *ctx)
{
    (void)ctx;
    limits->weight = 1 + *(const uint32_t *)key.data % 7;
}

static void measure(uint32_t keys)
{
    struct seat *seats = calloc(keys, sizeof *seats);
    kp_options o = { .driver = { .create = create, .destroy = destroy, .flags = KP_NEVER_BLOCKS } };

    if (!seats || kp_loop_open(&loop) != 0) exit(1);
    o.loop = loop;
    o.limits_for = weigh;
    o.budget.max_lent = 1;
    if (kp_pool_open(&o, &pool) != 0) exit(1);
    for (uint32_t i = 0; i < keys; i++) {
        seats[i].key = i;
        ask(&seats[i]);
    }
    struct seat *last = next_served();
    uint64_t began = 0;
    for (int i = 0; i < 2 * TURNS; i++) { /* the first half makes each key's resource */
        if (i == TURNS) began = now_ns();
        kp_release(&last->lease);
        struct seat *next = next_served();
        ask(last);
        last = next;
    }
    uint64_t took = now_ns() - began;
    printf("{\"starved_keys\": %" PRIu32 ", \"turns\": %d, \"cpu_ns_per_turn\": %" PRIu64 "}\n",
           keys - 1, TURNS, took / TURNS);
    for (uint32_t i = 0; i < keys; i++) kp_cancel(&seats[i].request);
    kp_release(&last->lease);
    kp_pool_close(pool, KP_CLOSE_NOW, 0);
    while (kp_loop_dispatch(loop) == 0) continue;
    kp_loop_close(loop);
    free(seats);
}

int main(void)
{
    measure(11);
    measure(1001);
    measure(100001);
    return 0;
}
