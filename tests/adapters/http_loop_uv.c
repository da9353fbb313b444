/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that never blocks, with the glue for libuv.
 */
#include "adapters/glue_uv.h"
#include "adapters/http_loop.h"

int main(void)
{
    return run_on("http with libuv");
}
