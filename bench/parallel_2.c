/* SPDX-License-Identifier: MIT
 *
 * parallel.2: do two threads that share a key get in each other's way, though there is enough for
 * both? Each has a processor.
 */
#include "parallel.h"

int main(int argc, char **argv)
{
    return parallel(argc, argv, "parallel.2", 2);
}
