/* SPDX-License-Identifier: MIT
 *
 * Keys as a pool sees them: is this one of mine, its hash, is it equal, the pool's own copy, and
 * its text for reports. Three kinds of pools: keys are bytes (a key type of {0}), structs told by a
 * field table, structs told by functions. Pinned keys are resolved before any of this is called.
 * Nothing here allocates, locks or remembers.
 */
#ifndef KP__FLOW_KEY_H
#define KP__FLOW_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "keyedpool/words.h"

/* A key type told by its fields, as a copy that stays: who comes without the lock may come when the
 * options' table is gone. */
struct kp__form {
    kp_key_type type; /* size, and `field` */
    kp_field field[];
};

/* NULL: it is not told by fields, or out of memory. */
struct kp__form *kp__form_of(const kp_key_type *type);

/* NULL, or the option at fault ("key_type.size"): what contradicts itself, or could not work; and
 * a static sentence that says how. */
const char *kp__key_type_refused(const kp_key_type *type, const char **sentence);

/* 0; or KP_EMISUSE, and a static sentence that says what was most likely done. */
int kp__key_check(const kp_key_type *type, kp_key key, const char **sentence);

/* The functions below take keys that kp__key_check accepted. */

/* Keyed by the seed against flooding; never 0. Equal keys have equal hashes. */
uint64_t kp__key_hash(const kp_key_type *type, const uint64_t seed[2], kp_key key);

/* The quick hash (base/mix.h) of a key told by its fields. */
uint64_t kp__key_quick(const kp_field *fields, uint64_t seed, const void *key);

/* Is the pool's own copy (of stored_size) this key? */
bool kp__key_equal(const kp_key_type *type, const void *stored, size_t stored_size, kp_key key);

/* How many bytes the pool's own copy takes: the bytes and a NUL; or the struct, and behind it the
 * strings it points to. */
size_t kp__key_room(const kp_key_type *type, kp_key key);

/* Make the pool's own copy in `room`, which has kp__key_room bytes and is aligned for anything; a
 * key type's copy function runs here. Returns 0, or what that said: then nothing is to drop. */
int kp__key_copy(const kp_key_type *type, kp_key key, void *room);

/* Undo kp__key_copy, before the room is freed. */
void kp__key_drop(const kp_key_type *type, void *copied);

/* The pool's own copy as drivers and events see it; for a struct `size` is not used. */
static inline kp_key kp__key_stored(const kp_key_type *type, const void *copied, size_t size)
{
    return kp_bytes(copied, type->size == 0 ? size : type->size | KP_STRUCT_KEY);
}

/* The key as text, as snprintf: printable bytes as they are, backslash doubled, others \xNN; fields
 * as name=value,name=value. Takes any key, also one that kp__key_check refuses. Calls key_type.text
 * if there is one: not under a lock. */
size_t kp__key_print(const kp_key_type *type, kp_key key, char *buf, size_t size);

#endif
