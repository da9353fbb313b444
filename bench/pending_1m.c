/* SPDX-License-Identifier: MIT
 *
 * pending.1m: what does it cost to wait? A million requests of an event loop wait for a pool of
 * ten, each with the default deadline; each is served and gives back what it got, so that the next
 * one is served. `ns` is the time from the start of the first to the answer of the last, for each
 * request; that they are answered in order is checked. `bytes` is the request, which is the
 * caller's, and what the process grew by while all of them waited. The peer has nothing comparable.
 */
#include "pools.h"

enum { SIZE = 10 };

struct line {
    const struct variant *variant;
    kp_request *requests;
    uint32_t count, answered;
    double bytes;
};

static struct line *standing;           /* the line that is being measured */

static void done(kp_request *request, int status, kp_lease lease)
{
    if (status != 0) bench_fail("a request", kp_strerror(status));
    if (request != &standing->requests[standing->answered]) bench_fail("a request", "overtaken");
    standing->answered++;
    kp_release(&lease);
}

static struct ours open_on(kp_loop *loop, const struct variant *v)
{
    kp_options options = ours_options(SIZE);

    options.loop = loop;
    options.limits.max_waiting = KP_UNLIMITED;
    return ours_open(options, v);
}

static double stand(void *self, double seconds)
{
    struct line *l = self;
    kp_loop *loop;
    uint64_t before, memory, now, took;

    (void)seconds;
    standing = l;
    l->answered = 0;
    ours_must(kp_loop_open(&loop), "kp_loop_open");
    struct ours o = open_on(loop, l->variant);
    memset(l->requests, 0, l->count * sizeof *l->requests);
    memory = bench_memory();
    before = bench_now();
    for (uint32_t i = 0; i < l->count; i++) {
        kp_request *r = &l->requests[i];
        r->loop = loop;
        r->done = done;
        ours_must(kp_get_start(o.pool, o.pinned, NULL, r), "kp_get_start");
    }
    took = bench_now() - before;
    now = bench_memory();               /* takes a while: not timed */
    double grown = now > memory ? (double)(now - memory) / l->count : 0;
    if (sizeof *l->requests + grown > l->bytes) l->bytes = (double)sizeof *l->requests + grown;
    before = bench_now();
    while (l->answered < l->count)
        if (kp_loop_dispatch(loop) < -1) bench_fail("kp_loop_dispatch", "refused");
    took += bench_now() - before;
    ours_close(&o);
    if (kp_loop_close(loop) != 0) bench_fail("kp_loop_close", "requests left");
    return (double)took / l->count;
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    uint32_t count = b.million;
    kp_request *requests = calloc(count, sizeof *requests);
    struct line lines[VARIANTS];

    if (!requests) bench_fail("pending", "out of memory");
    if (b.rounds > 7) b.rounds = 7;
    bench_park_one();
    bench_pin(0);
    for (int v = 0; v < VARIANTS; v++) {
        lines[v] = (struct line){ &variants[v], requests, count, 0, 0 };
        compare_sample(&c, v, stand, &lines[v]);
    }
    compare_run(&b, &c);
    for (int v = 0; v < VARIANTS; v++) {
        compare_open(&b, &c, "pending.1m", v);
        bench_number("bytes", lines[v].bytes);
        bench_number("requests", count);
        bench_close(&b);
    }
    free(requests);
    return 0;
}
