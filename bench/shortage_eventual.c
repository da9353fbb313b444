/* SPDX-License-Identifier: MIT
 *
 * shortage.eventual: how much faster is it when a thread may be overtaken, but not for ever?
 */
#include "shortage.h"

int main(int argc, char **argv)
{
    return shortage(argc, argv, "shortage.eventual", KP_EVENTUAL);
}
