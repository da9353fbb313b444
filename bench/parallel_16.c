/* SPDX-License-Identifier: MIT
 *
 * parallel.16: and sixteen, on as many processors as there are? A thread may be stopped anywhere.
 */
#include "parallel.h"

int main(int argc, char **argv)
{
    return parallel(argc, argv, "parallel.16", 16);
}
