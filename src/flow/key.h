/* SPDX-License-Identifier: MIT
 *
 * Keys as a pool sees them: does a key fit the pool, its hash, is it equal to another, the pool's
 * own copy, and its text for reports. There are three kinds of pools: keys are bytes (a key type of
 * {0}), structs described by a field table, or structs described by functions. Pinned keys are
 * resolved before any of this is called. Nothing here takes a lock or keeps state, and nothing but
 * kp__form_of allocates.
 */
#ifndef KP__FLOW_KEY_H
#define KP__FLOW_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "keyedpool/words.h"

/* A copy of a key type that is described by its fields. It stays: a hit without the lock may read
 * it when the table that the options named is gone. */
struct kp__form {
    kp_key_type type; /* size, and `field` */
    kp_field field[];
};

/* NULL: the type has no field table, or out of memory. */
struct kp__form *kp__form_of(const kp_key_type *type);

/* Is the key type self-contradictory, or could it not work? Returns the option at fault
 * ("key_type.size") and a static sentence that says why; else NULL. */
const char *kp__key_type_refused(const kp_key_type *type, const char **sentence);

/* NULL: the key is one of this type. Else a static sentence that says what was most likely done. */
const char *kp__key_refused(const kp_key_type *type, kp_key key);

/* The functions below take keys that kp__key_refused did not refuse. */

/* Keyed by the seed against flooding; never 0. Equal keys have equal hashes. */
uint64_t kp__key_hash(const kp_key_type *type, const uint64_t seed[2], kp_key key);

/* The quick hash (base/mix.h) of a key that is described by its fields. */
uint64_t kp__key_quick(const kp_field *fields, uint64_t seed, const void *key);

/* Is the pool's own copy (of stored_size) this key? */
bool kp__key_equal(const kp_key_type *type, const void *stored, size_t stored_size, kp_key key);

/* How many bytes the pool's own copy takes: the bytes and a NUL; or the struct, followed by the
 * strings it points to. */
size_t kp__key_room(const kp_key_type *type, kp_key key);

/* Make the pool's own copy in `room`, which has kp__key_room bytes and is aligned for anything.
 * Runs key_type.copy. Returns 0, or its negative code: then there is nothing to drop. */
int kp__key_copy(const kp_key_type *type, kp_key key, void *room);

/* Undo kp__key_copy, before the room is freed. */
void kp__key_drop(const kp_key_type *type, void *copied);

/* The pool's own copy as drivers and events see it; for a struct `size` is not used. */
static inline kp_key kp__key_stored(const kp_key_type *type, const void *copied, size_t size)
{
    return kp_bytes(copied, type->size == 0 ? size : type->size | KP_STRUCT_KEY);
}

/* Write the key as text, in the manner of snprintf: printable bytes as they are, backslash doubled,
 * others \xNN; fields as name=value,name=value. Takes any key, even one that is refused.
 * Calls key_type.text if there is one: then not under a lock. _plain: never calls it. */
size_t kp__key_print(const kp_key_type *type, kp_key key, char *buf, size_t size);
size_t kp__key_print_plain(const kp_key_type *type, kp_key key, char *buf, size_t size);

#endif
