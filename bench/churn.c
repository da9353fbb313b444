/* SPDX-License-Identifier: MIT
 *
 * churn: what does the pool cost when nothing can be used twice? One thread gets and discards, so
 * each get creates. The driver does next to nothing here, so that what is timed is the pool's work.
 */
#include "pools.h"

static void ours_churn(void *self, uint32_t n)
{
    const struct ours *o = self;

    for (uint32_t i = 0; i < n; i++) {
        kp_lease lease;
        ours_get(o, o->pinned, &lease);
        thing_use(lease.resource);
        kp_discard(&lease);
    }
}

static void peer_churn(void *self, uint32_t n)
{
    peer_list *list = self;

    for (uint32_t i = 0; i < n; i++) {
        void *thing = peer_get(list);
        thing_use(thing);
        peer_discard(list, thing);
    }
}

int main(int argc, char **argv)
{
    struct bench b = bench_begin(argc, argv);
    struct compare c = { 0 };
    struct ours ours[VARIANTS];

    bench_park_one();
    bench_pin(0);
    for (int v = 0; v < VARIANTS; v++) {
        ours[v] = ours_open(ours_options(8), &variants[v]);
        compare_times(&c, v, ours_churn, &ours[v]);
    }
    if (PEERS) compare_times(&c, PEER, peer_churn, peer_open(8));
    compare_run(&b, &c);
    compare_print(&b, &c, "churn");
    for (int v = 0; v < VARIANTS; v++) ours_close(&ours[v]);
    return 0;
}
