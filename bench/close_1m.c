/* SPDX-License-Identifier: MIT
 *
 * close.1m: what does it cost to close? A pool with a million idle resources of one key; ns for
 * each resource, and the driver does next to nothing. `ns_100k` is the same with a tenth of them:
 * if it were less, the time would not be linear. `ns_keys` is for a million keys with one resource
 * each.
 */
#include "pools.h"

enum { ROW = 3 };
enum { ONE_KEY, A_TENTH, KEYS };        /* of a subject */

struct closing {
    int v;                              /* the variant; VARIANTS: the peer */
    uint32_t count;
    const char *keys;                   /* or NULL: one key */
};

static double close_ours(void *self, double seconds)
{
    const struct closing *s = self;
    struct ours o = ours_open(ours_options(s->keys ? 1 : s->count), &variants[s->v]);

    (void)seconds;
    if (!s->keys) ours_fill(&o, o.pinned, s->count);
    for (uint32_t i = 0; s->keys && i < s->count; i++)
        ours_fill(&o, kp_bytes(keys_at(s->keys, i), KEY_SIZE), 1);
    uint64_t before = bench_now();
    ours_close(&o);
    return (double)(bench_now() - before) / s->count;
}

static double close_peer(void *self, double seconds)
{
    const struct closing *s = self;
    peer_list *list = peer_open(s->count);

    (void)seconds;
    peer_fill(list, s->count);
    uint64_t before = bench_now();
    peer_close(list);
    return (double)(bench_now() - before) / s->count;
}

static void try(void *self)
{
    close_ours(self, 0);
}

/* A million, or as many as can be lent at once and come back within a few seconds. */
static uint32_t possible(const struct bench *b)
{
    uint32_t count = b->million;

    for (int v = 0; v < VARIANTS; v++) {
        struct closing c = { v, count, NULL };
        while (c.count > 1000 && !bench_possible(try, &c, b->rounds > 5 ? 8 : 2)) c.count /= 10;
        count = c.count;
    }
    return count;
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    things_in_turn = THINGS;            /* no two of a million have the same address */
    uint32_t count = possible(&b);
    char *keys = keys_make(count);
    struct closing closings[ROW * VARIANTS + 1];
    struct bench_subject all[ROW * VARIANTS + 2] = { 0 };
    struct bench_subject *limit = &all[ROW * VARIANTS], *peer = limit + 1;

    if (b.rounds > 7) b.rounds = 7;
    bench_park_one();
    bench_pin(0);
    for (int i = 0; i < ROW * VARIANTS; i++) {
        int kind = i % ROW;
        closings[i] = (struct closing){ i / ROW, kind == A_TENTH ? count / 10 : count,
                                        kind == KEYS ? keys : NULL };
        all[i].name = variant_name(i / ROW);
        all[i].self = &closings[i];
        all[i].sample = close_ours;
    }
    *limit = bench_limit();
    closings[ROW * VARIANTS] = (struct closing){ VARIANTS, count, NULL };
    *peer = (struct bench_subject){ .name = "apr_reslist", .self = &closings[ROW * VARIANTS],
                                    .sample = close_peer };
    bench_rounds(&b, all, ROW * VARIANTS + 1 + PEERS);
    for (int v = 0; v < VARIANTS; v++) {
        const struct bench_subject *row = &all[ROW * v];
        bench_open(&b, "close.1m", &row[ONE_KEY], limit, PEERS ? peer : NULL);
        bench_median_of(&b, "ns_100k", &row[A_TENTH]);
        bench_median_of(&b, "ns_keys", &row[KEYS]);
        bench_number("resources", count);
        bench_close(&b);
    }
    free(keys);
    return 0;
}
