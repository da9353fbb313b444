/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for libevent.
 */
#include "adapters/glue_event.h"
#include "adapters/postgres_loop.h"

int main(void)
{
    return run_on("postgres with libevent");
}
