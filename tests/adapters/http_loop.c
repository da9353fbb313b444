/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that never blocks, with the glue for epoll.
 */
#include "adapters/glue_epoll.h"
#include "adapters/http_loop.h"

int main(void)
{
    return run_on("http with epoll");
}
