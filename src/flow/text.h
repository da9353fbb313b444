/* SPDX-License-Identifier: MIT
 *
 * Options as text: what kp_options_set and the presets share.
 */
#ifndef KP__FLOW_TEXT_H
#define KP__FLOW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keyedpool/options.h"

/* Numbers, exactly as kp_options_set takes them, in the first n bytes of s; zero is given as
 * KP_NONE. Counts may end in k or M, times in ms, s, min or h. False: not one, or too large. */
bool kp__text_count(const char *s, size_t n, int64_t most, int64_t *out);
bool kp__text_time(const char *s, size_t n, int64_t *out);

/* Does all of s (n bytes) say this word? */
bool kp__text_is(const char *s, size_t n, const char *word);

/* "effect-fixed 10": 0, or KP_ECONFIG, and then nothing has changed. */
int kp__preset_set(kp_options *options, const char *text);

#endif
