/* SPDX-License-Identifier: MIT
 *
 * keys.1m: what do a million keys cost, in time and memory? One idle resource for each; one thread
 * gets and releases by key, drawn at random, so that hardly anything is in the cache. Bytes are
 * what a process grows by that does nothing else, for each key with its resource (16 bytes on the
 * heap) and everything that the pool keeps for them; the keys themselves, which are the caller's,
 * were there before. `bytes_again` is that of keys that were used a second time: hits without the
 * lock have lines of their own for them.
 */
#include "pools.h"

enum { SIZE = 8 };

struct grown {
    struct keyed *keyed;
    int v, uses;
};

static void grow(void *arg)
{
    struct grown *g = arg;

    bench_park_one();
    if (g->v < VARIANTS) {
        g->keyed->ours = ours_open(ours_options(SIZE), &variants[g->v]);
        for (int i = 0; i < g->uses; i++) ours_make_keys(g->keyed);
    } else
        peer_make_keys(g->keyed, SIZE);
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    uint32_t count = b.million;
    char *keys = keys_make(count);
    struct keyed all[VARIANTS + 1];
    double bytes[VARIANTS + 1] = { 0 }, again[VARIANTS + 1] = { 0 };

    things_on_heap = true;
    for (int v = 0; v < VARIANTS + PEERS; v++) {
        all[v] = (struct keyed){ .keys = keys, .count = count, .random = 42 };
        bytes[v] = (double)bench_memory_of(grow, &(struct grown){ &all[v], v, 1 }) / count;
        if (v < VARIANTS)
            again[v] = (double)bench_memory_of(grow, &(struct grown){ &all[v], v, 2 }) / count;
    }
    bench_park_one();
    bench_pin(0);
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
    for (int v = 0; v < VARIANTS; v++) {
        compare_open(&b, &c, "keys.1m", v);
        bench_number("bytes", bytes[v]);
        bench_number("bytes_again", again[v]);
        if (PEERS) bench_number("peer_bytes", bytes[VARIANTS]);
        bench_number("keys", count);
        bench_close(&b);
    }
    return 0;                           /* to close a million keys is another question */
}
