/* SPDX-License-Identifier: MIT
 *
 * The HTTP adapter that never blocks, with the glue for libevent.
 */
#include "adapters/glue_event.h"
#include "adapters/http_loop.h"

int main(void)
{
    return run_on("http with libevent");
}
