/* SPDX-License-Identifier: MIT
 *
 * What kp_x_fill and kp_x_open have in common in all adapters: options are refused with a field and
 * a sentence, or copied with their strings for as long as the pool lives; and the counters of what
 * a driver does. All of it is static, so that each adapter is a library of its own and several may
 * be linked into one program.
 */
#ifndef KP_ADAPTERS_FILL_H
#define KP_ADAPTERS_FILL_H

#include "keyedpool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options --------------------------------------------------------------------------------- */

static inline bool kp__is_time(int64_t ms)
{
    return ms >= 0 || ms == KP_OFF;
}

/* Reserved words that are not zero: a newer header has given them a meaning. */
#define KP__SAYS_MORE(o) \
    kp__any_set((o)->reserved, sizeof (o)->reserved / sizeof (o)->reserved[0])
#define KP__NEWER "it is not zero; is the header newer than the library?"

static inline bool kp__any_set(const int64_t *words, size_t count)
{
    while (count > 0 && words[count - 1] == 0)
        count--;
    return count > 0;
}

/* Returns KP_ECONFIG. */
static inline int kp__fill_refused(kp_options *options, const char *field, const char *sentence)
{
    kp_why *why = options->why;

    if (why) {
        memset(why, 0, sizeof *why);
        why->code = KP_ECONFIG;
        why->retry_after_ms = KP_OFF;
        (void)snprintf(why->field, sizeof why->field, "%s", field);
        (void)snprintf(why->text, sizeof why->text, "%s: %s", field, sentence);
    }
    return KP_ECONFIG;
}

/* ---- what is kept of the options ------------------------------------------------------------- */

/* driver.ctx points to `options`: the copy that an adapter keeps of its options for as long as the
 * pool lives, with strings of its own. In front of it lies what is needed to drop it. */
struct kp__kept {
    const size_t *strings;              /* where they are in the options, up to KP__NO_STRING */
    void         *users_ctx;            /* of the driver that was there before: the user's own */
    void        (*users_drop)(void *ctx);
    max_align_t   options[];
};

#define KP__NO_STRING SIZE_MAX

static inline struct kp__kept *kp__kept_of(void *ctx)
{
    return (struct kp__kept *)(void *)((char *)ctx - offsetof(struct kp__kept, options));
}

static inline char **kp__kept_string(struct kp__kept *kept, size_t at)
{
    return (char **)(void *)((char *)kept->options + at);
}

/* For where no pool was opened: what is the user's stays his. A string is cleared before it is
 * freed, since it may be a password. */
static inline void kp__unkeep(void *ctx)
{
    struct kp__kept *kept = kp__kept_of(ctx);

    for (const size_t *at = kept->strings; *at != KP__NO_STRING; at++) {
        char *own = *kp__kept_string(kept, *at);
        if (own)
            explicit_bzero(own, strlen(own));
        free(own);
    }
    free(kept);
}

/* driver.drop_ctx. The user's is called when the adapter has dropped what it has. */
static inline void kp__drop_kept(void *ctx)
{
    struct kp__kept kept = *kp__kept_of(ctx);

    kp__unkeep(ctx);
    if (kept.users_drop)
        kept.users_drop(kept.users_ctx);
}

/* A copy of the options, or NULL: no memory. `before` is the driver that it is for: its ctx and
 * drop_ctx are the user's if it has nothing else yet. A whole driver is none of his: it was filled
 * before, or is replaced. */
static inline void *kp__keep(const void *options, size_t size, const size_t *strings,
                             const kp_driver *before)
{
    struct kp__kept *kept = malloc(sizeof *kept + size);
    bool whole = true;

    if (!kept)
        return NULL;
    kept->strings = strings;
    kept->users_ctx = before->ctx;
    kept->users_drop = before->create ? NULL : before->drop_ctx;
    memcpy(kept->options, options, size);
    for (const size_t *at = strings; *at != KP__NO_STRING; at++) {
        char **string = kp__kept_string(kept, *at);
        if (!*string)
            continue;
        *string = strdup(*string);
        whole = whole && *string;
    }
    if (whole)
        return kept->options;
    kp__unkeep(kept->options);
    return NULL;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* driver.fd may be set where the library can watch descriptors. */
#ifdef __linux__
enum { KP__HAS_FD = 1 };
#else
enum { KP__HAS_FD = 0 };
#endif

static inline kp_options kp__options(const kp_options *more)
{
    static const kp_options none;

    return more ? *more : none;
}

/* kp_x_fill of no options: misuse, which the library tells. */
static inline int kp__fill_none(void)
{
    kp_pool *none;

    return kp_pool_open(NULL, &none);
}

/* Open a pool with the options that kp_x_fill has filled in; `filled` is what that returned. If
 * there is no pool, `drop` frees what kp_x_fill made; what is the user's stays his. */
static inline int kp__open_filled(int filled, const kp_options *options, void (*drop)(void *ctx),
                                  kp_pool **out)
{
    int rc;

    if (out)
        *out = NULL;
    if (filled != 0)
        return filled;
    rc = kp_pool_open(options, out);    /* without out, misuse, which it tells */
    if (rc != 0)
        drop(options->driver.ctx);
    return rc;
}

/* ---- counters -------------------------------------------------------------------------------- */

static inline void kp__count(uint64_t *counter, uint64_t more)
{
    (void)__atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

/* Read a struct of counters, and nothing but counters, one by one. Of none: zeros. */
static inline void kp__counts_read(const void *counts, void *out, size_t size)
{
    const uint64_t *from = counts;
    uint64_t *to = out;

    for (size_t i = 0; i < size / sizeof *to; i++)
        to[i] = from ? __atomic_load_n(&from[i], __ATOMIC_RELAXED) : 0;
}

#endif
