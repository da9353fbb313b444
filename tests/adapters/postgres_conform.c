/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter, held to what every adapter must hold to.
 */
#include "adapters/postgres_conform.h"

static int fill(kp_options *options)
{
    kp_pg_options o = { .conninfo = pg.conninfo };

    return kp_pg_fill(&o, options);
}

int main(void)
{
    return run_conform("postgres", fill, false, KP_ECREATE);
}
