/* SPDX-License-Identifier: MIT
 *
 * Scenarios of kp_rotate, and of replacements that are made before the old resource ends: there are
 * never more than max_live and the surplus together, no request waits beside an idle resource, and
 * whatever happens between the making of the new one and the end of the old, none is left over.
 */
#include "scenarios.h"

static const struct {
    const char *where;
    struct stage stage;
    const char *bodies[16];
} rotated[] = {
    { "replaced before, 1 idle of 1", { .max_live = 1, .idle = 1, .surplus = 1 },
      { "Oe gr", "Oe gd", "Oe k", "Oe grgr", "Oe fr", "OeT gr", "Oe 0", "OeO gr", "Oe Oe",
        "O gr e", "Oe arar", "Oe ne", "Oe s" } },
    { "replaced before, 1 held of 1", { .max_live = 1, .held = 1, .surplus = 1 },
      { "Oe R", "Oe D", "Oe grR", "O gr eR", "Oe wr", "Oe R0", "OeO R", "OexO R", "Oe gr R" } },
    { "replaced before, 1 held, 1 idle of 2",
      { .max_live = 2, .held = 1, .idle = 1, .surplus = 1 },
      { "Oe R", "Oe gr", "Oee gr", "Oee Rgr", "Oe D", "Oeex R" } },
    { "replaced before, shared by 2", { .max_live = 1, .sharing = 2, .held = 1, .surplus = 1 },
      { "Oe R", "Oe gr", "Oe grR" } },
    { "replaced before and later, 1 idle of 1",
      { .max_live = 1, .idle = 1, .surplus = 1, .pends = true },
      { "Oe gr J", "Oe gd J", "Oe k J", "Oe 0 J" } },
    { "replaced before, one fault", { .max_live = 1, .idle = 1, .surplus = 1, .faults = 1 },
      { "Oe gr", "Oe gd", "Oee k", "Oe 0" } },
};

void add_rotated(void)
{
    for (size_t i = 0; i < sizeof rotated / sizeof *rotated; i++)
        for (const char *const *b = rotated[i].bodies; *b; b++)
            (void)scenario_add(LONG_PAIRS, NULL, rotated[i].where, &rotated[i].stage, *b);
}
