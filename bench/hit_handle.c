/* SPDX-License-Identifier: MIT
 *
 * hit.handle: what does a get that finds something idle cost, with the release that nobody waits
 * for? One thread, one key, pinned.
 */
#include "pools.h"

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    struct ours ours[VARIANTS];

    bench_park_one();
    bench_pin(0);
    for (int v = 0; v < VARIANTS; v++) {
        ours[v] = ours_open(ours_options(8), &variants[v]);
        compare_times(&c, v, ours_pinned_pairs, &ours[v]);
    }
    if (PEERS) compare_times(&c, PEER, peer_pairs, peer_open(8));
    compare_run(&b, &c);
    compare_print(&b, &c, "hit.handle");
    for (int v = 0; v < VARIANTS; v++) ours_close(&ours[v]);
    return 0;
}
