/* SPDX-License-Identifier: MIT
 *
 * The counters of a key and of the whole pool, as kp_stats has them (stats.c).
 */
#ifndef KP__FLOW_STATS_H
#define KP__FLOW_STATS_H

#include "flow/flow.h"

/* With the lock, and with the lane of this key shut, or those of all keys. */
kp_stats kp__stats_of(const struct kp__subpool *sub);
kp_stats kp__stats_of_all(const struct kp__core *core);

#endif
