/* SPDX-License-Identifier: MIT
 *
 * What the files of the cast share.
 */
#ifndef KP_EXPLORE_CAST_INSIDE_H
#define KP_EXPLORE_CAST_INSIDE_H

#include "cast.h"

kp_pool *cast_pool(void);
kp_key cast_key(int key);
void cast_unlocked(const char *what);                       /* I6 */
void cast_hear(uint32_t *closed, uint32_t *invalidations);  /* a get begins */
void cast_got(kp_lease lease, uint32_t closed, uint32_t invalidations);
bool cast_explained(int code, int64_t within_ms, uint32_t flags);
void loops_open(unsigned threads); /* a mask: who has a loop */

#endif
