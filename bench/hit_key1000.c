/* SPDX-License-Identifier: MIT
 *
 * hit.key1000: what does it cost to ask by key? One thread, 1,000 keys of 16 bytes drawn at random;
 * the drawing counts. The peer's lists are found in a hash.
 */
#define BENCH_PORTABLE 1
#include "pools.h"

enum { KEYS = 1000, SIZE = 8 };

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    char *keys = keys_make(KEYS);
    struct keyed all[VARIANTS + 1];

    bench_park_one();
    bench_pin(0);
    for (int v = 0; v <= VARIANTS; v++)
        all[v] = (struct keyed){ .keys = keys, .count = KEYS, .random = 42 };
    for (int v = 0; v < VARIANTS; v++) {
        all[v].ours = ours_open(ours_options(SIZE), &variants[v]);
        ours_make_keys(&all[v]);
        compare_times(&c, v, ours_keyed_pairs, &all[v]);
    }
    if (PEERS) {
        peer_make_keys(&all[VARIANTS], SIZE);
        compare_times(&c, PEER, peer_keyed_pairs, &all[VARIANTS]);
    }
    compare_run(&b, &c);
    compare_print(&b, &c, "hit.key1000");
    for (int v = 0; v < VARIANTS; v++) ours_close(&all[v].ours);
    free(keys);
    return 0;
}
