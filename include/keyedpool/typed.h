/* SPDX-License-Identifier: MIT
 *
 * A typed interface: KP_DEFINE(db, struct db_key, PGconn) makes db_pool, db_lease { PGconn
 * *resource; ... }, db_options, db_open, db_get, db_try_get, db_release, db_discard, db_close,
 * which use no void pointers: a key, resource or lease of the wrong type does not compile. The
 * contracts are those of the functions they call. `fields` describes the key (words.h). The options
 * must stay until the pool is gone (more.driver.drop_ctx was called), as the driver is called
 * through them: they are the ctx of all its functions, those of more.driver, too (drop_ctx, fd,
 * cancel, ...).
 */
#ifndef KEYEDPOOL_TYPED_H
#define KEYEDPOOL_TYPED_H

#include "stats.h"

#define KP_DEFINE(name, key_t, resource_t)                                                         \
    typedef struct name##_pool { kp_pool *pool; } name##_pool;                                     \
    typedef struct name##_lease { resource_t *resource; kp_lease lease; } name##_lease;            \
    typedef struct name##_options {                                                                \
        int (*create)(kp_job *, const key_t *, resource_t **);                                     \
        int (*destroy)(kp_job *, resource_t *);                                                    \
        int (*validate)(kp_job *, resource_t *);                                                   \
        int (*reset)(kp_job *, resource_t *);                                                      \
        bool (*is_clean)(resource_t *, void *ctx);  /* ctx: the one below */                       \
        const kp_field *fields;                                                                    \
        void           *ctx;            /* yours: ((const name##_options *)job->ctx)->ctx */       \
        kp_options      more;                                                                      \
    } name##_options;                                                                              \
    static inline KP_MAYBE_UNUSED int name##_create_(kp_job *job, void **out)                      \
    {                                                                                              \
        resource_t *made = NULL;                                                                   \
        int rc = ((const name##_options *)job->ctx)                                                \
                     ->create(job, (const key_t *)job->key.data, &made);                           \
        *out = made;                                                                               \
        return rc;                                                                                 \
    }                                                                                              \
    static inline KP_MAYBE_UNUSED int name##_destroy_(kp_job *job, void *r)                        \
    { return ((const name##_options *)job->ctx)->destroy(job, (resource_t *)r); }                  \
    static inline KP_MAYBE_UNUSED int name##_validate_(kp_job *job, void *r)                       \
    { return ((const name##_options *)job->ctx)->validate(job, (resource_t *)r); }                 \
    static inline KP_MAYBE_UNUSED int name##_reset_(kp_job *job, void *r)                          \
    { return ((const name##_options *)job->ctx)->reset(job, (resource_t *)r); }                    \
    static inline KP_MAYBE_UNUSED bool name##_is_clean_(void *r, void *o)                          \
    {                                                                                              \
        const name##_options *options = (const name##_options *)o;                                 \
        return options->is_clean((resource_t *)r, options->ctx);                                   \
    }                                                                                              \
    static inline KP_NODISCARD KP_MAYBE_UNUSED int name##_open(const name##_options *o,            \
                                                               name##_pool *out)                   \
    {                                                                                              \
        kp_options more;                                                                           \
        if (!o || !out) return kp_pool_open(NULL, out ? &out->pool : NULL);                        \
        more = o->more;                                                                            \
        more.driver.create = o->create ? name##_create_ : NULL;                                    \
        more.driver.destroy = o->destroy ? name##_destroy_ : NULL;                                 \
        more.driver.validate = o->validate ? name##_validate_ : NULL;                              \
        more.driver.reset = o->reset ? name##_reset_ : NULL;                                       \
        more.driver.is_clean = o->is_clean ? name##_is_clean_ : NULL;                              \
        more.driver.ctx = (void *)(uintptr_t)o;                                                    \
        more.key_type.size = sizeof(key_t);                                                        \
        more.key_type.fields = o->fields;                                                          \
        return kp_pool_open(&more, &out->pool);                                                    \
    }                                                                                              \
    static inline KP_NODISCARD KP_MAYBE_UNUSED int name##_get(name##_pool p, const key_t *key,     \
                                                              const kp_ask *ask,                   \
                                                              name##_lease *out)                   \
    {                                                                                              \
        int rc = kp_get(p.pool, KP_KEY(key), ask, &out->lease);                                    \
        out->resource = (resource_t *)out->lease.resource;                                         \
        return rc;                                                                                 \
    }                                                                                              \
    static inline KP_NODISCARD KP_MAYBE_UNUSED int name##_try_get(name##_pool p, const key_t *key, \
                                                                  name##_lease *out)               \
    {                                                                                              \
        int rc = kp_try_get(p.pool, KP_KEY(key), &out->lease);                                     \
        out->resource = (resource_t *)out->lease.resource;                                         \
        return rc;                                                                                 \
    }                                                                                              \
    static inline KP_MAYBE_UNUSED void name##_release(name##_lease *l)                             \
    {                                                                                              \
        if (!l) return;                                                                            \
        l->resource = NULL;                                                                        \
        kp_release(&l->lease);                                                                     \
    }                                                                                              \
    static inline KP_MAYBE_UNUSED void name##_discard(name##_lease *l)                             \
    {                                                                                              \
        if (!l) return;                                                                            \
        l->resource = NULL;                                                                        \
        kp_discard(&l->lease);                                                                     \
    }                                                                                              \
    static inline KP_MAYBE_UNUSED int64_t name##_close(name##_pool p, kp_close_mode mode,          \
                                                            int64_t within_ms)                     \
    { return kp_pool_close(p.pool, mode, within_ms); }                                             \
    struct name##_needs_a_semicolon

#endif
