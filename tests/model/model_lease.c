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
