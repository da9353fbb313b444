/* SPDX-License-Identifier: MIT
 *
 * shortage.fifo: what does it cost to serve strictly in order of arrival?
 */
#include "shortage.h"

int main(int argc, char **argv)
{
    return shortage(argc, argv, "shortage.fifo", KP_FIFO);
}
