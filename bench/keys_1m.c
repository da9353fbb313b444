/* SPDX-License-Identifier: MIT
 *
 * keys.1m: what do a million keys cost, in time and memory? Each has one idle resource; one thread
 * gets and releases keys drawn at random, so that hardly anything is in the cache. Each key was
 * used a few times before it is timed. `bytes` is by how much a process that does nothing else
 * grows for each key, with its resource (16 bytes on the heap) and everything that the pool keeps
 * for them; the keys themselves, which are the caller's, were there before. `bytes_again` is the
 * same for keys that were used a second time: hits without the lock have lines of their own for
 * them.
 *
 * `ns_least` is what the machine needs for any pool of that size: to read the key, to change a word
 * of the line that its hash selects and to change it back, and to touch the resource to which the
 * line leads.
 */
#include "pools.h"

#ifdef __linux__
#  include <sys/mman.h>
#endif

enum { SIZE = 8, USES = 3, LINE = 64 };

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

/* A line for each key, in pages as large as ours, and a resource for each. */
struct line {
    _Alignas(LINE) _Atomic uint64_t word;
    void *thing;
};

struct least {
    struct keyed keyed;
    struct line *lines;
};

static struct line *lines_make(uint32_t count)
{
    size_t room = 2 << 20, bytes = ((size_t)count * sizeof(struct line) + room - 1) / room * room;
    struct line *lines = aligned_alloc(room, bytes);

    if (!lines) bench_fail("lines_make", "out of memory");
#ifdef MADV_HUGEPAGE
    (void)madvise(lines, bytes, MADV_HUGEPAGE);
#endif
    for (uint32_t i = 0; i < count; i++) lines[i] = (struct line){ .thing = thing_make() };
    return lines;
}

/* The line depends on the contents of the key, as in a real look-up. */
static uint32_t line_of(kp_key key, uint32_t count)
{
    uint64_t text;

    memcpy(&text, (const char *)key.data + KEY_SIZE - sizeof text, sizeof text);
    return (uint32_t)((text * UINT64_C(0x9e3779b97f4a7c15) >> 32) * count >> 32);
}

/* Of borrowers that do not touch what they get. */
static void untouched_pairs(void *self, uint32_t n)
{
    struct keyed *k = self;

    for (uint32_t i = 0; i < n; i++) {
        kp_lease lease;
        ours_get(&k->ours, keyed_draw(k), &lease);
        kp_release(&lease);
    }
}

static void least_pairs(void *self, uint32_t n)
{
    struct least *least = self;

    for (uint32_t i = 0; i < n; i++) {
        struct line *line = &least->lines[line_of(keyed_draw(&least->keyed), least->keyed.count)];
        uint64_t expected = 0;
        atomic_compare_exchange_strong(&line->word, &expected, 1);
        thing_use(line->thing);
        expected = 1;
        atomic_compare_exchange_strong(&line->word, &expected, 0);
    }
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct bench_subject subjects[VARIANTS + 4] = { 0 }, *least = subjects + VARIANTS;
    struct bench_subject *limit = least + 1, *untouched = least + 2, *peer = least + 3;
    uint32_t count = b.million;
    char *keys = keys_make(count);
    struct keyed all[VARIANTS + 1];
    struct least lines;
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
        for (int i = 0; i < USES; i++) ours_make_keys(&all[v]);
        subjects[v] = (struct bench_subject){ .name = variant_name(v), .self = &all[v],
                                              .times = ours_keyed_pairs };
    }
    lines = (struct least){ { .keys = keys, .count = count, .random = 42 }, lines_make(count) };
    *least = (struct bench_subject){ .name = "least", .self = &lines, .times = least_pairs };
    *limit = bench_limit();
    *untouched = (struct bench_subject){ .name = "untouched", .self = &all[VARIANTS - 1],
                                         .times = untouched_pairs };
    if (PEERS) peer_make_keys(&all[VARIANTS], SIZE);
    *peer = (struct bench_subject){ .name = "apr_reslist", .self = &all[VARIANTS],
                                    .times = peer_keyed_pairs };
    bench_rounds(&b, subjects, VARIANTS + 3 + PEERS);
    for (int v = 0; v < VARIANTS; v++) {
        bench_open(&b, "keys.1m", &subjects[v], limit, PEERS ? peer : NULL);
        bench_median_of(&b, "ns_least", least);
        if (v == VARIANTS - 1) bench_median_of(&b, "ns_untouched", untouched);
        bench_number("bytes", bytes[v]);
        bench_number("bytes_again", again[v]);
        if (PEERS) bench_number("peer_bytes", bytes[VARIANTS]);
        bench_number("keys", count);
        bench_close(&b);
    }
    return 0;                           /* closing is measured by close.1m */
}
