/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL adapter that never blocks, with the glue for epoll.
 */
#include "adapters/glue_epoll.h"
#include "adapters/postgres_loop.h"

int main(void)
{
    return run_on("postgres with epoll");
}
