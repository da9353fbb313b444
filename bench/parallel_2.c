/* SPDX-License-Identifier: MIT
 *
 * parallel.2: do two threads that share a key slow each other down, although there is enough for
 * both? Each has a processor.
 */
#include "parallel.h"

int main(int argc, char **argv)
{
    return parallel(argc, argv, "parallel.2", 2);
}
