/* SPDX-License-Identifier: MIT
 *
 * What a borrower says of its lease to the model.
 */
#include "model_inside.h"

void model_lease_reuse(struct model *m, int slot, int seat, bool reuse)
{
    m->slot[slot].seat[seat].decided = true;
    m->slot[slot].seat[seat].reuse = reuse;
}

/* How a use went, for the circuit. */
void model_lease_report(struct model *m, int slot, int status)
{
    struct model_key *k = &m->key[m->slot[slot].key];

    if (!(k->rules.breaker_counts & KP_BREAK_USE) || k->rules.breaker_failures == NO_LIMIT) return;
    k->probing = false;
    k->use_failures = status >= 0 ? 0 : k->use_failures + 1;
    if (status >= 0) {
        k->tripped = false;
    } else if (k->use_failures >= k->rules.breaker_failures) {
        k->tripped = true;
        k->open_until = m_later(m->now, k->rules.breaker_open);
    }
}
