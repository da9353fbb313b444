/* SPDX-License-Identifier: MIT
 *
 * hit.handle: what does a get that finds something idle cost, with the release that nobody waits
 * for? One thread, one key, pinned.
 */
#define BENCH_PORTABLE 1
#include "pools.h"

/* What a pair would take if the library did nothing: two calls that return at once. */
static void calls_alone(void *unused, uint32_t n)
{
    (void)unused;
    for (uint32_t i = 0; i < n; i++) {
        kp_release(NULL);
        kp_release(NULL);
    }
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    struct ours ours[VARIANTS];
    static struct bench_subject calls = { .name = "calls", .times = calls_alone };

    bench_park_one();
    bench_pin(0);
    for (int v = 0; v < VARIANTS; v++) {
        ours[v] = ours_open(ours_options(8), &variants[v]);
        compare_times(&c, v, ours_pinned_pairs, &ours[v]);
    }
    if (PEERS) compare_times(&c, PEER, peer_pairs, peer_open(8));
    compare_run(&b, &c);
    bench_rounds(&b, &calls, 1);
    for (int v = 0; v < VARIANTS; v++) {
        compare_open(&b, &c, "hit.handle", v);
        bench_number("ns_calls", bench_median(&b, &calls, 0.5));
        bench_close(&b);
    }
    for (int v = 0; v < VARIANTS; v++) ours_close(&ours[v]);
    return 0;
}
