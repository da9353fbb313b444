/* SPDX-License-Identifier: MIT
 *
 * release.keys: does a release cost more when there are more keys (L8)? The release alone, with no
 * request waiting, in a pool with 1 key and in one with 1,000,000 keys with one idle resource each.
 *
 * The choice of keys separates work from cache misses. `ns` is for the same key each time, among a
 * million others: it uses the same cache lines as a pool with one key (`ns_1_key`), so whatever it
 * takes more is work. `ns_random` is for keys drawn at random: what that takes more than `ns` is
 * for memory. tests/cost checks that the work is the same to the instruction.
 */
#include "pools.h"

enum { BATCH = 64, ROW = 3 };
enum { SAME, RANDOM, ONE };             /* of a subject: which pool and which keys */

struct releases {
    struct keyed *keyed;
    bool at_random;
};

static kp_key next_key(const struct releases *r)
{
    if (r->at_random) return keyed_draw(r->keyed);
    return kp_bytes(keys_at(r->keyed->keys, r->keyed->count / 2), KEY_SIZE);
}

/* Only the releases are timed: the ns of the median batch. */
static double ours_releases(void *self, double seconds)
{
    static double batches[BENCH_BATCHES];
    const struct releases *r = self;
    uint64_t end = bench_now() + (uint64_t)(seconds * 1e9), before = 0;
    size_t n = 0;

    while (n < 3 || (before < end && n < BENCH_BATCHES)) {
        kp_lease leases[BATCH];
        for (int i = 0; i < BATCH; i++) ours_get(&r->keyed->ours, next_key(r), &leases[i]);
        before = bench_now();
        for (int i = 0; i < BATCH; i++) kp_release(&leases[i]);
        batches[n++] = (double)(bench_now() - before) / (double)BATCH;
    }
    return bench_part(batches, n, 0.5);
}

static double peer_releases(void *self, double seconds)
{
    static double batches[BENCH_BATCHES];
    const struct releases *r = self;
    uint64_t end = bench_now() + (uint64_t)(seconds * 1e9), before = 0;
    size_t n = 0;

    while (n < 3 || (before < end && n < BENCH_BATCHES)) {
        peer_list *lists[BATCH];
        void *things[BATCH];
        for (int i = 0; i < BATCH; i++) {
            lists[i] = peer_find(r->keyed->lists, next_key(r));
            things[i] = peer_get(lists[i]);
        }
        before = bench_now();
        for (int i = 0; i < BATCH; i++) peer_release(lists[i], things[i]);
        batches[n++] = (double)(bench_now() - before) / (double)BATCH;
    }
    return bench_part(batches, n, 0.5);
}

/* Makes one idle resource for each key, and a whole batch for the key that is always the same. */
static void prepare(struct keyed *k, int v)
{
    if (v == VARIANTS) k->lists = peer_lists(k->keys, k->count, BATCH);
    else k->ours = ours_open(ours_options(BATCH), &variants[v]);
    for (uint32_t i = 0; i < k->count; i++) {
        kp_key key = kp_bytes(keys_at(k->keys, i), KEY_SIZE);
        uint32_t many = i == k->count / 2 ? BATCH : 1;
        if (v == VARIANTS) peer_fill(peer_find(k->lists, key), many);
        else ours_fill(&k->ours, key, many);
    }
}

static void print(const struct bench *b, const struct bench_subject *all, uint32_t count)
{
    const struct bench_subject *limit = &all[ROW * (VARIANTS + PEERS)];
    const struct bench_subject *peer = PEERS ? &all[ROW * VARIANTS] : NULL;

    for (int v = 0; v < VARIANTS; v++) {
        const struct bench_subject *row = &all[ROW * v];
        bench_open(b, "release.keys", &row[SAME], limit, peer);
        bench_median_of(b, "ns_1_key", &row[ONE]);
        bench_median_of(b, "ns_random", &row[RANDOM]);
        if (PEERS) {
            bench_median_of(b, "peer_ns_1_key", &peer[ONE]);
            bench_median_of(b, "peer_ns_random", &peer[RANDOM]);
        }
        bench_number("keys", count);
        bench_close(b);
    }
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    uint32_t count = b.million;
    char *keys = keys_make(count);
    struct keyed many[VARIANTS + 1], one[VARIANTS + 1];
    struct releases releases[ROW * (VARIANTS + 1)];
    struct bench_subject all[ROW * (VARIANTS + 1) + 1] = { 0 };

    bench_park_one();
    bench_pin(0);
    for (int v = 0; v < VARIANTS + PEERS; v++) {
        many[v] = (struct keyed){ .keys = keys, .count = count, .random = 42 };
        one[v] = (struct keyed){ .keys = keys, .count = 1, .random = 42 };
        prepare(&many[v], v);
        prepare(&one[v], v);
        for (int i = 0; i < ROW; i++) {
            struct bench_subject *s = &all[ROW * v + i];
            releases[ROW * v + i] = (struct releases){ i == ONE ? &one[v] : &many[v], i == RANDOM };
            s->name = v < VARIANTS ? variant_name(v) : "apr_reslist";
            s->self = &releases[ROW * v + i];
            s->sample = v < VARIANTS ? ours_releases : peer_releases;
        }
    }
    all[ROW * (VARIANTS + PEERS)] = bench_limit();
    bench_rounds(&b, all, ROW * (VARIANTS + PEERS) + 1);
    print(&b, all, count);
    return 0;
}
