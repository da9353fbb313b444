/* SPDX-License-Identifier: MIT
 *
 * Scopes: a stack of leases and finalizers in a value of 256 bytes. The first six entries lie in
 * it, the others in chunks. It holds no pointer into itself, so it may be moved.
 */
#include <stdalign.h>
#include <string.h>

#include "base/cancel.h"
#include "flow/event.h"
#include "flow/hit.h"

enum { INLINE_ENTRIES = 6, CHUNK_ENTRIES = 25, ENTRY_WORDS = 5 };

/* Where things are in kp_scope.opaque. */
enum { COUNT = 0, CHUNK = 1, ENTRIES = 2 };
_Static_assert(ENTRIES + INLINE_ENTRIES * ENTRY_WORDS ==
                   sizeof(kp_scope) / sizeof(uint64_t),
               "the inline entries fill the scope");

/* The first word of an entry says what the others are: a lease, or a function and its argument. */
enum { LEASE = 1, DEFER = 2 };

struct chunk {
    struct chunk *below;
    size_t        count;
    uint64_t      entries[CHUNK_ENTRIES][ENTRY_WORDS];
};

static struct chunk *top_chunk(const kp_scope *scope)
{
    return (struct chunk *)(uintptr_t)scope->opaque[CHUNK];
}

static void drop_chunk(kp_scope *scope)
{
    struct chunk *chunk = top_chunk(scope);
    scope->opaque[CHUNK] = (uintptr_t)chunk->below;
    kp__free(&kp__life, chunk, sizeof *chunk);
}

/* See to room for one more entry. False: out of memory. */
static bool reserve(kp_scope *scope)
{
    struct chunk *chunk = top_chunk(scope);
    if (!chunk && scope->opaque[COUNT] < INLINE_ENTRIES) return true;
    if (chunk && chunk->count < CHUNK_ENTRIES) return true;
    chunk = kp__alloc(&kp__life, sizeof *chunk, alignof(struct chunk));
    if (!chunk) return false;
    chunk->below = top_chunk(scope);
    scope->opaque[CHUNK] = (uintptr_t)chunk;
    return true;
}

/* Give back room that was reserved and not used. */
static void trim(kp_scope *scope)
{
    struct chunk *chunk = top_chunk(scope);
    if (chunk && chunk->count == 0) drop_chunk(scope);
}

static void push(kp_scope *scope, const uint64_t entry[ENTRY_WORDS])
{
    struct chunk *chunk = top_chunk(scope);
    uint64_t *to = chunk ? chunk->entries[chunk->count++]
                         : &scope->opaque[ENTRIES + ENTRY_WORDS * scope->opaque[COUNT]++];
    memcpy(to, entry, ENTRY_WORDS * sizeof *to);
}

/* Take the top entry off. The place is zeroed, so that an empty scope is {0} again. */
static bool pop(kp_scope *scope, uint64_t entry[ENTRY_WORDS])
{
    trim(scope); /* if this runs within a kp_scope_get, that has reserved a chunk */
    struct chunk *chunk = top_chunk(scope);
    size_t size = ENTRY_WORDS * sizeof *entry;
    if (chunk) {
        memcpy(entry, chunk->entries[--chunk->count], size);
        trim(scope);
        return true;
    }
    if (scope->opaque[COUNT] == 0) return false;
    uint64_t *from = &scope->opaque[ENTRIES + ENTRY_WORDS * --scope->opaque[COUNT]];
    memcpy(entry, from, size);
    memset(from, 0, size);
    return true;
}

static void push_lease(kp_scope *scope, const kp_lease *lease)
{
    uint64_t entry[ENTRY_WORDS] = { LEASE, (uintptr_t)lease->resource, lease->opaque[0],
                                    lease->opaque[1], lease->opaque[2] };
    push(scope, entry);
}

static int no_memory(const kp_ask *ask)
{
    return kp__say(ask ? ask->why : NULL, KP_ENOMEM, "out of memory: the scope cannot grow");
}

int kp_scope_get(kp_scope *scope, kp_pool *pool, kp_key key, const kp_ask *ask, kp_lease *out)
{
    kp_lease lease;
    int rc;
    if (out) memset(out, 0, sizeof *out);
    if (!scope || !out)
        return kp__misuse_by(pool, ask ? ask->why : NULL, "kp_scope_get: scope or out is NULL");
    if (!reserve(scope)) return no_memory(ask);
    rc = kp__get_from(pool, key, ask, KP__SITE, &lease);
    if (rc != 0) {
        trim(scope);
        return rc;
    }
    if (!reserve(scope)) {              /* a driver function has used the reserved room */
        kp_release(&lease);
        return no_memory(ask);
    }
    push_lease(scope, &lease);
    *out = lease;
    return 0;
}

int kp_scope_defer(kp_scope *scope, void (*fn)(void *arg), void *arg)
{
    uint64_t entry[ENTRY_WORDS] = { DEFER, (uintptr_t)fn, (uintptr_t)arg, 0, 0 };
    if (!scope || !fn)
        return kp__misuse(NULL, NULL, "kp_scope_defer: scope or fn is NULL; nothing was deferred");
    if (!reserve(scope)) return KP_ENOMEM;
    push(scope, entry);
    return 0;
}

/* That the borrower has ended the lease already is no misuse here. */
static void end_lease(const uint64_t entry[ENTRY_WORDS])
{
    kp_lease lease = { (void *)(uintptr_t)entry[1], { entry[2], entry[3], entry[4] } };
    (void)kp__end_lease(&lease, KP__END_OF_SCOPE);
}

static void finish(const uint64_t entry[ENTRY_WORDS])
{
    int cancel = kp__cancel_hold();
    ((void (*)(void *))(uintptr_t)entry[1])((void *)(uintptr_t)entry[2]);
    kp__cancel_free(cancel);
}

/* An entry is taken off before its function runs, which may add to the scope or close it. */
void kp_scope_close(kp_scope *scope)
{
    uint64_t entry[ENTRY_WORDS];
    while (scope && pop(scope, entry)) {
        if (entry[0] == LEASE)
            end_lease(entry);
        else
            finish(entry);
    }
}
