/* SPDX-License-Identifier: MIT
 *
 * L7 across keys: the scenes for which the choice between keys was designed, each for 1,000 usual
 * holds in virtual time. In each, what a key holds must be its fair share within 2 % of the whole,
 * and resources are created only as often as that needs.
 */
#include "market.h"

typedef struct scene {
    const char *what;
    int64_t permits;
    int tasks[3];
    int64_t weight[3], hold_ms[3], floor[3];
    double fair[3];
    uint64_t creates; /* at most */
} scene;

enum { USUAL_MS = 100, WARM_UP = 100, HOLDS = 1000 };

static void must_be_fair(const scene *s, bool lent)
{
    market m;
    market_begin(&m, 11);
    if (lent) m.options.budget.max_lent = s->permits;
    else m.options.budget.max_live = s->permits;
    for (int k = 0; k < 3 && s->tasks[k]; k++)
        market_key(&m, s->tasks[k], s->weight[k], s->hold_ms[k])->floor = s->floor[k];
    market_open(&m);
    market_run(&m, WARM_UP * USUAL_MS, (WARM_UP + HOLDS) * USUAL_MS);
    print_message("%-58s", s->what);
    for (int k = 0; k < m.count; k++)
        print_message(" %c %.2f (fair %.2f) waits <= %5.1f", 'A' + k, market_share(&m, k),
                      s->fair[k], (double)m.stalls[k].longest_ms / (double)USUAL_MS);
    print_message(", %llu made for %llu leases\n", (unsigned long long)m.creates,
                  (unsigned long long)m.gets);
    for (int k = 0; k < m.count; k++) {
        double off = market_share(&m, k) - s->fair[k];
        assert_true((off < 0 ? -off : off) <= 0.02 * (double)s->permits);
    }
    if (!lent) assert_true(m.creates <= s->creates);
    market_end(&m);
}

#define EACH { 100, 100, 100 }
static const scene scenes[] = {
    { "4; A 8 threads, B 1; 1:1", 4, { 8, 1 }, { 1, 1 }, EACH, { 0 }, { 3, 1 }, 0 },
    { "4; A 8 threads, B 1; 3:1", 4, { 8, 1 }, { 3, 1 }, EACH, { 0 }, { 3, 1 }, 0 },
    { "4; 8 and 8; 3:1", 4, { 8, 8 }, { 3, 1 }, EACH, { 0 }, { 3, 1 }, 0 },
    { "4; 8 and 8; 65536:21845", 4, { 8, 8 }, { 65536, 21845 }, EACH, { 0 }, { 3, 1 }, 10 },
    { "4; 8 and 8; 1:1; A holds ten times longer", 4, { 8, 8 }, { 1, 1 }, { 1000, 100 }, { 0 },
      { 2, 2 }, 0 },
    { "1; 8 and 8; 3:1", 1, { 8, 8 }, { 3, 1 }, EACH, { 0 }, { .75, .25 }, 30 },
    { "1; 8 and 8; 65536:21845", 1, { 8, 8 }, { 65536, 21845 }, EACH, { 0 }, { .75, .25 }, 30 },
    { "4; 8 and 8; 9:1, floor of B 1", 4, { 8, 8 }, { 9, 1 }, EACH, { 0, 1 }, { 3, 1 }, 0 },
    { "1; A 8 threads, B 1; 1:1", 1, { 8, 1 }, { 1, 1 }, EACH, { 0 }, { .5, .5 }, 150 },
    { "1; one thread each; 3:1", 1, { 1, 1 }, { 3, 1 }, EACH, { 0 }, { .75, .25 }, 600 },
    { "3; A 8 threads, B 3; 1:5", 3, { 8, 3 }, { 1, 5 }, EACH, { 0 }, { .5, 2.5 }, 150 },
    { "2; A 2 threads, B 1 that holds ten times longer; 9:1", 2, { 2, 1 }, { 9, 1 }, { 20, 200 },
      { 0 }, { 1.8, .2 }, 250 },
    { "2; three of 8; 1:1:1", 2, { 8, 8, 8 }, { 1, 1, 1 }, EACH, { 0 }, { .667, .667, .667 }, 100 },
};

static void what_each_key_holds_of_a_live_budget_must_be_its_fair_share(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) must_be_fair(&scenes[i], false);
}

static void what_each_key_holds_of_a_budget_of_leases_must_be_its_fair_share(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) must_be_fair(&scenes[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_each_key_holds_of_a_live_budget_must_be_its_fair_share),
        cmocka_unit_test(what_each_key_holds_of_a_budget_of_leases_must_be_its_fair_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
