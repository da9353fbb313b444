/* SPDX-License-Identifier: MIT
 *
 * Circuits: probes that are cancelled, time out, are discarded or fail while others come.
 * Afterwards no probe may still be counted that is not there: the circuit can be closed.
 */
#include "scenarios.h"

static const struct circuit {
    const char *where;
    struct stage stage;
    const char *bodies[16];
} circuits[] = {
    { "a circuit, 1 idle of 1", { .max_live = 1, .idle = 1, .probes = 1 },
      { "g-r gr", "g-r g+r", "g-rg+r gr", "g-rgr g+r", "g-d gr", "g-r wr", "g-r k", "g-r j",
        "g-r 0", "g-rSX gr", "g-r SLr", "g-r fr", "g-r gr gr", "g-rg+r g-r gr", "g-rgd gr j" } },
    { "a circuit, 2 idle of 2, two probes", { .max_live = 2, .idle = 2, .probes = 2 },
      { "g-rg+r g+r", "g-r g+r g+r", "g-rg-r g+r", "g-r gd g+r" } },
    { "a circuit, the first create fails", { .max_live = 1, .bad_creates = 1, .probes = 1 },
      { "gr gr", "grgr gr", "gr fr", "grSX gr", "gr SLr", "gr gr gr" } },
    { "a circuit, created later", { .max_live = 1, .pends = true, .probes = 1 },
      { "g-dwr J", "g-dSX J", "g-dSXg+r J", "g-dgr wr J" } },
    { "a circuit, validated, 1 idle of 2",
      { .max_live = 2, .idle = 1, .validates = true, .probes = 1 },
      { "g-rgr kgr", "g-rSX kg+r", "g-rwr gd" } },
};

void add_circuits(void)
{
    for (size_t i = 0; i < sizeof circuits / sizeof *circuits; i++)
        for (const char *const *b = circuits[i].bodies; *b; b++) {
            struct scenario *s =
                scenario_add(TRIPLES, "circuit", circuits[i].where, &circuits[i].stage, *b);
            s->after = cast_circuit_goes_on;
        }
}
