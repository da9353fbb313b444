/* SPDX-License-Identifier: MIT
 *
 * SipHash-1-3: a keyed hash. Without the key nobody can construct inputs that collide.
 */
#ifndef KP__BASE_SIPHASH_H
#define KP__BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* The same value on every machine. data may be NULL if size is 0. */
uint64_t kp__siphash13(const uint64_t key[2], const void *data, size_t size);

#endif
