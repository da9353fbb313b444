/* SPDX-License-Identifier: MIT
 *
 * Scenarios of keys that share a group, and of creations one at a time over all keys: whoever is
 * next gets what another key gives back, or has evicted, whatever becomes of the request that it
 * was evicted for.
 */
#include "scenarios.h"

static const struct {
    const char *where;
    struct stage stage;
    const char *bodies[16];
} grouped[] = {
    { "two keys in a group, 1 idle of 1 there", { .max_live = 1, .group = 1, .idle = 1 },
      { "gr br", "bd br", "gr vr", "gr fr br", "br k", "br x", "vr wr", "br 0", "BX gr", "BLr gr",
        "BX br gr", "vr br gr" } },
    { "two keys in a group, 1 held of 1 there", { .max_live = 1, .group = 1, .held = 1 },
      { "br R", "vr D", "BX R", "br gr R", "vr br R", "br 0 R" } },
    { "two keys in a group, 2 idle of 2 there", { .max_live = 2, .group = 2, .idle = 2 },
      { "gr br", "br br", "gr bd vr", "br n", "BX br" } },
    { "two keys, one create at a time", { .max_live = 2, .creating = 1 },
      { "gr br", "gr gr br", "gd vr", "gr bd 0", "wr BLr", "gr BX br" } },
    { "two keys in a group, one create at a time, later",
      { .max_live = 1, .group = 1, .creating = 1, .pends = true },
      { "gr br J", "wr br J", "gr BX J", "br 0 J", "vr gr J" } },
};

void add_groups(void)
{
    for (size_t i = 0; i < sizeof grouped / sizeof *grouped; i++)
        for (const char *const *b = grouped[i].bodies; *b; b++)
            (void)scenario_add(TRIPLES, "groups", grouped[i].where, &grouped[i].stage, *b);
}
