/* SPDX-License-Identifier: MIT
 *
 * parallel.16: like parallel.2 with sixteen threads, on as many processors as there are. The system
 * may take the processor from a thread anywhere.
 */
#include "parallel.h"

int main(int argc, char **argv)
{
    return parallel(argc, argv, "parallel.16", 16);
}
