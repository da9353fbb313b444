/* SPDX-License-Identifier: MIT
 *
 * Two keys, and scripts of the driver, that the contract tests of Effect and ZIO share.
 */
#ifndef CONTRACT_SCRIPTS_H
#define CONTRACT_SCRIPTS_H

#include "contract.h"

#define EU kp_str("eu-west")
#define US kp_str("us-east")

/* Create number i fails with vendor code i; at the end of the lines all succeed. */
#define FAILS(i)                                                                                   \
    {                                                                                              \
        .status = -1, .vendor_code = (i), .text = "connect: refused"                               \
    }

static const kp_line ten_failures[] = { FAILS(1), FAILS(2), FAILS(3), FAILS(4),  FAILS(5), FAILS(6),
                                        FAILS(7), FAILS(8), FAILS(9), FAILS(10), { 0 } };
static const kp_line thirty_failures[] = {
    FAILS(1),  FAILS(2),  FAILS(3),  FAILS(4),  FAILS(5),  FAILS(6),  FAILS(7),  FAILS(8),
    FAILS(9),  FAILS(10), FAILS(11), FAILS(12), FAILS(13), FAILS(14), FAILS(15), FAILS(16),
    FAILS(17), FAILS(18), FAILS(19), FAILS(20), FAILS(21), FAILS(22), FAILS(23), FAILS(24),
    FAILS(25), FAILS(26), FAILS(27), FAILS(28), FAILS(29), FAILS(30), { 0 }
};
static const kp_line three_failures[] = { FAILS(1), FAILS(2), FAILS(3), { 0 } };
static const kp_line always_failing[] = {
    { .status = -1, .vendor_code = 61, .text = "nope", .times = KP_OFF }, { 0 }
};
static const kp_line create_blocks_100_ms[] = { { .blocks_ms = 100, .times = KP_OFF }, { 0 } };

static const kp_line destroy_always_fails[] = {
    { .status = -1, .text = "close: i/o error", .times = KP_OFF }, { 0 }
};

#endif
