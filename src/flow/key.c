/* SPDX-License-Identifier: MIT
 *
 * Keys as a pool sees them (key.h): bytes, structs described by a field table, structs described by
 * functions.
 */
#include "flow/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cancel.h"
#include "base/mix.h"
#include "base/siphash.h"
#include "base/world.h"

/* The two top bits of a key's size are marks: KP_STRUCT_KEY, and the pool's own for pinned keys. */
#define SIZE_MARKS (KP_STRUCT_KEY | KP_STRUCT_KEY >> 1)

/* A subpool keeps the size of its key in 32 bits. */
#define SIZE_MOST (~SIZE_MARKS & UINT32_MAX)

static bool is_bytes(const kp_key_type *type)
{
    return type->size == 0;
}

static const char *as_str(const char *s)
{
    return s ? s : "";
}

/* The string of a KP_FIELD_STR; memcpy, because the struct may be a packed one. */
static const char *str_at(const kp_field *f, const void *key)
{
    const char *s;
    memcpy(&s, (const char *)key + f->offset, sizeof s);
    return s;
}

/* ---- is the key type possible? -------------------------------------------------------------- */

static bool has_functions(const kp_key_type *type)
{
    return type->hash || type->equal || type->copy || type->drop;
}

/* Is it as long in each key? */
static bool is_fixed(const kp_field *f)
{
    return f->kind == KP_FIELD_BYTES || f->kind == KP_FIELD_UINT;
}

static bool fields_refused(const kp_key_type *type)
{
    const kp_field *f = type->fields;
    if (f->kind == KP_FIELD_END) return true;           /* all keys would be equal */
    for (; f->kind != KP_FIELD_END; f++) {
        bool str = f->kind == KP_FIELD_STR;
        if (!str && !is_fixed(f) && f->kind != KP_FIELD_TEXT) return true;
        if (!f->name || f->size == 0) return true;
        if (str && f->size != sizeof(char *)) return true;
        if (f->offset > type->size || f->size > type->size - f->offset) return true;
    }
    return false;
}

const char *kp__key_type_refused(const kp_key_type *type, const char **sentence)
{
    bool functions = has_functions(type);

    *sentence = "is not NULL; is the header newer than the library?";
    if (type->reserved[0] || type->reserved[1]) return "key_type.reserved";
    *sentence = "is too large";
    if (type->size > SIZE_MOST) return "key_type.size";
    if (type->size == 0) {
        *sentence = "is 0; for keys that are structs it is the size of the struct";
        if (type->fields || functions) return "key_type.size";
        *sentence = "is for keys that are structs only";
        return type->text ? "key_type.text" : NULL;
    }
    if (type->fields) {
        *sentence = "contradicts hash, equal, copy or drop: keys are compared by one or the other";
        if (functions) return "key_type.fields";
        *sentence = "is empty, or has a field that is incomplete or outside key_type.size";
        return fields_refused(type) ? "key_type.fields" : NULL;
    }
    *sentence = "is NULL, and so are hash, equal and copy: nothing says how to compare";
    if (!functions) return "key_type.fields";
    *sentence = "is NULL: hash, equal and copy are needed together";
    if (!type->hash) return "key_type.hash";
    if (!type->equal) return "key_type.equal";
    if (!type->copy) return "key_type.copy";
    return NULL;
}

struct kp__form *kp__form_of(const kp_key_type *type)
{
    size_t n = 1;
    if (!type->fields) return NULL;
    for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++) n++;
    struct kp__form *form = kp__alloc(&kp__life, sizeof *form + n * sizeof *form->field, 16);
    if (!form) return NULL;
    memcpy(form->field, type->fields, n * sizeof *form->field);
    form->type.size = type->size;
    form->type.fields = form->field;
    return form;
}

/* ---- is the key one of this type? ----------------------------------------------------------- */

const char *kp__key_refused(const kp_key_type *type, kp_key key)
{
    if (key.size == SIZE_MAX) return "KP_EVERY_KEY stands for all keys; pass one key";
    if (is_bytes(type)) {
        if (key.size & KP_STRUCT_KEY)
            return "a struct key needs key_type.fields: as bytes, its padding would be compared";
        if (key.size > SIZE_MOST) return "the key is too large: it must be below 4 GiB";
        return !key.data && key.size > 0 ? "the key has a size but its data is NULL" : NULL;
    }
    if (!(key.size & KP_STRUCT_KEY))
        return "the keys of this pool are structs and this one is bytes: pass KP_KEY(&key)";
    if ((key.size ^ KP_STRUCT_KEY) != type->size)
        return "the key is a struct of another size than key_type.size: is it of another type?";
    return key.data ? NULL : "the key is a NULL pointer to a struct";
}

/* ---- hash ----------------------------------------------------------------------------------- */

/* The fields of a key as one canonical row of bytes, each after its length if that can vary. A row
 * that fits, as nearly all do, is hashed in one piece; each time it is full, its hash so far takes
 * the place of its bytes. */
struct row {
    const uint64_t *seed;
    size_t used;
    unsigned char bytes[192];
};

static void row_add(struct row *row, const void *data, size_t size)
{
    const unsigned char *p = data;
    while (size > 0) {
        size_t n = sizeof row->bytes - row->used;
        if (n == 0) {
            uint64_t h = kp__siphash13(row->seed, row->bytes, row->used);
            memcpy(row->bytes, &h, sizeof h);
            row->used = sizeof h;
            continue;
        }
        if (n > size) n = size;
        memcpy(row->bytes + row->used, p, n);
        row->used += n;
        p += n;
        size -= n;
    }
}

/* The bytes of a field that count for equality, and how many they are. */
static const char *field_at(const kp_field *f, const void *key, uint64_t *size)
{
    const char *data = (const char *)key + f->offset;
    *size = f->size;
    if (f->kind == KP_FIELD_STR) {
        data = as_str(str_at(f, key));
        *size = strlen(data);
    } else if (f->kind == KP_FIELD_TEXT) {
        *size = strnlen(data, f->size);
    }
    return data;
}

static void row_add_field(struct row *row, const kp_field *f, const void *key)
{
    uint64_t size;
    const char *data = field_at(f, key, &size);
    if (!is_fixed(f)) row_add(row, &size, sizeof size);
    row_add(row, data, (size_t)size);
}

static uint64_t hash_fields(const kp_key_type *type, const uint64_t seed[2], const void *key)
{
    struct row row;
    row.seed = seed;
    row.used = 0;
    for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++)
        row_add_field(&row, f, key);
    return kp__siphash13(seed, row.bytes, row.used);
}

uint64_t kp__key_quick(const kp_field *fields, uint64_t seed, const void *key)
{
    uint64_t hash = seed, size;
    for (const kp_field *f = fields; f->kind != KP_FIELD_END; f++) {
        const char *data = field_at(f, key, &size);
        hash = kp__quick_hash(hash, data, (size_t)size);    /* each hash is the seed of the next */
    }
    return hash;
}

uint64_t kp__key_hash(const kp_key_type *type, const uint64_t seed[2], kp_key key)
{
    uint64_t h;
    if (is_bytes(type)) {
        h = kp__siphash13(seed, key.size ? key.data : "", key.size);
    } else if (type->fields) {
        h = hash_fields(type, seed, key.data);
    } else {
        h = type->hash(key.data, seed[0], type->ctx);
        h = kp__siphash13(seed, &h, sizeof h);  /* the table uses low bits: these may be poor */
    }
    return h ? h : 1;
}

/* ---- equality ------------------------------------------------------------------------------- */

static bool field_equal(const kp_field *f, const void *a, const void *b)
{
    const char *x = (const char *)a + f->offset;
    const char *y = (const char *)b + f->offset;
    switch (f->kind) {
    case KP_FIELD_STR:
        return strcmp(as_str(str_at(f, a)), as_str(str_at(f, b))) == 0;
    case KP_FIELD_TEXT:
        return strncmp(x, y, f->size) == 0;
    default:
        return memcmp(x, y, f->size) == 0;
    }
}

bool kp__key_equal(const kp_key_type *type, const void *stored, size_t stored_size, kp_key key)
{
    if (is_bytes(type)) {
        if (stored_size != key.size) return false;
        return key.size == 0 || memcmp(stored, key.data, key.size) == 0;
    }
    if (!type->fields) return type->equal(stored, key.data, type->ctx);
    for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++)
        if (!field_equal(f, stored, key.data)) return false;
    return true;
}

/* ---- the pool's own copy -------------------------------------------------------------------- */

size_t kp__key_room(const kp_key_type *type, kp_key key)
{
    size_t room = type->size;
    if (is_bytes(type)) return key.size + 1;
    if (!type->fields) return room;
    for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++) {
        const char *s = f->kind == KP_FIELD_STR ? str_at(f, key.data) : NULL;
        if (s) room += strlen(s) + 1;
    }
    return room;
}

int kp__key_copy(const kp_key_type *type, kp_key key, void *room)
{
    char *behind = (char *)room + type->size;
    if (is_bytes(type)) {
        if (key.size > 0) memcpy(room, key.data, key.size);
        ((char *)room)[key.size] = '\0';
        return 0;
    }
    if (!type->fields) {
        int cancel = kp__cancel_hold(), rc = type->copy(key.data, room, type->ctx);
        kp__cancel_free(cancel);
        return rc < 0 ? rc : 0;
    }
    memcpy(room, key.data, type->size);     /* all of it: the driver may read what is no field */
    for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++) {
        const char *s = f->kind == KP_FIELD_STR ? str_at(f, key.data) : NULL;
        if (!s) continue;
        size_t n = strlen(s) + 1;
        memcpy(behind, s, n);
        memcpy((char *)room + f->offset, &behind, sizeof behind);
        behind += n;
    }
    return 0;
}

void kp__key_drop(const kp_key_type *type, void *copied)
{
    if (!type->drop) return;
    int cancel = kp__cancel_hold();
    type->drop(copied, type->ctx);
    kp__cancel_free(cancel);
}

/* ---- text ----------------------------------------------------------------------------------- */

struct text {
    char *buf;
    size_t size, length;
};

static void put(struct text *t, const char *s)
{
    for (; *s; s++, t->length++)
        if (t->length + 1 < t->size) t->buf[t->length] = *s;
}

static void put_hex(struct text *t, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        char hex[3];
        (void)snprintf(hex, sizeof hex, "%02x", p[i]);
        put(t, hex);
    }
}

static void put_bytes(struct text *t, const void *data, size_t size)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        char one[2] = { (char)p[i], '\0' };
        if (p[i] == '\\') {
            put(t, "\\\\");
        } else if (p[i] >= 0x20 && p[i] < 0x7f) {
            put(t, one);
        } else {
            put(t, "\\x");
            put_hex(t, p + i, 1);
        }
    }
}

static bool read_integer(const void *data, size_t size, int64_t *value)
{
    int8_t i8;
    int16_t i16;
    int32_t i32;
    switch (size) {
    case 1: memcpy(&i8, data, 1); *value = i8; return true;
    case 2: memcpy(&i16, data, 2); *value = i16; return true;
    case 4: memcpy(&i32, data, 4); *value = i32; return true;
    case 8: memcpy(value, data, 8); return true;
    default: return false;
    }
}

static void put_integer(struct text *t, const kp_field *f, int64_t value)
{
    uint64_t bits = (uint64_t)value, mask = UINT64_MAX >> (64 - 8 * f->size);
    char number[24];

    if (f->kind == KP_FIELD_UINT) (void)snprintf(number, sizeof number, "%" PRIu64, bits & mask);
    else (void)snprintf(number, sizeof number, "%" PRId64, value);
    put(t, number);
}

static void put_field(struct text *t, const kp_field *f, const void *key)
{
    const char *data = (const char *)key + f->offset;
    int64_t value;
    put(t, f->name);
    put(t, "=");
    if (f->kind == KP_FIELD_STR) {
        const char *s = as_str(str_at(f, key));
        put_bytes(t, s, strlen(s));
    } else if (f->kind == KP_FIELD_TEXT) {
        put_bytes(t, data, strnlen(data, f->size));
    } else if (read_integer(data, f->size, &value)) {
        put_integer(t, f, value);
    } else {
        put_hex(t, data, f->size);
    }
}

static bool printable(const kp_key_type *type, kp_key key)
{
    if (is_bytes(type)) return !(key.size & SIZE_MARKS) && (key.data || key.size == 0);
    if (!key.data) return false;
    return (key.size & ~KP_STRUCT_KEY) == type->size;   /* with the mark of a struct or without */
}

size_t kp__key_print(const kp_key_type *type, kp_key key, char *buf, size_t size)
{
    struct text t = { buf, size, 0 };
    if (!printable(type, key)) {
        put(&t, key.size == SIZE_MAX ? "(every key)" : "(not a key of this pool)");
    } else if (is_bytes(type)) {
        put_bytes(&t, key.data, key.size);
    } else if (type->text) {
        int cancel = kp__cancel_hold();
        t.length = type->text(key.data, buf, size, type->ctx);
        kp__cancel_free(cancel);
        return t.length;
    } else if (type->fields) {
        for (const kp_field *f = type->fields; f->kind != KP_FIELD_END; f++) {
            if (f != type->fields) put(&t, ",");
            put_field(&t, f, key.data);
        }
    } else {
        put_hex(&t, key.data, type->size < 16 ? type->size : 16);
    }
    if (size > 0) buf[t.length < size ? t.length : size - 1] = '\0';
    return t.length;
}

size_t kp__key_print_plain(const kp_key_type *type, kp_key key, char *buf, size_t size)
{
    kp_key_type plain = *type;

    plain.text = NULL;
    return kp__key_print(&plain, key, buf, size);
}
