/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for libuv.
 */
#include "adapters/glue_uv.h"
#include "adapters/postgres_loop.h"

int main(void)
{
    return run_on("postgres with libuv");
}
