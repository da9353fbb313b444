/* SPDX-License-Identifier: MIT
 *
 * What the cases compare: keyedpool in each of its variants, as the shared library that is shipped,
 * and apr_reslist (Debian's), one list for each key, found by apr_hash in cases that look up keys.
 * A resource is 16 bytes, and making one costs next to nothing.
 */
#ifndef BENCH_POOLS_H
#define BENCH_POOLS_H

#include "bench.h"

#include "keyedpool.h"

#if defined __x86_64__ && defined __has_include
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#endif

#ifdef KP_HAVE_APR
#  include <apr_general.h>
#  include <apr_hash.h>
#  include <apr_pools.h>
#  include <apr_reslist.h>
#endif

/* ---- resources ------------------------------------------------------------------------------- */

enum { THINGS = 1 << 20 };

struct thing { uint64_t used[2]; };

static bool things_on_heap;             /* each is allocated: for cases that measure memory */
static uint32_t things_in_turn = 1 << 12; /* more than most cases have in use at once */

/* Two threads that create at the same time may be given the same thing, which does no harm: an
 * atomic addition would be most of the work of a small pool. */
static inline struct thing *thing_make(void)
{
    static struct thing things[THINGS];
    static _Atomic uint32_t next;

    if (things_on_heap) return calloc(1, sizeof(struct thing));
    uint32_t mine = atomic_load_explicit(&next, memory_order_relaxed);
    atomic_store_explicit(&next, mine + 1, memory_order_relaxed);
    return &things[mine % things_in_turn];
}

static inline void thing_free(void *thing)
{
    if (things_on_heap) free(thing);
}

/* What a borrower does: touch it. */
static inline void thing_use(void *thing)
{
    (void)*(volatile uint64_t *)thing;
}

/* ---- keyedpool ------------------------------------------------------------------------------- */

struct ours {
    kp_pool *pool;
    kp_key   pinned;                    /* the key of those cases that have one */
};

static inline int ours_create(kp_job *job, void **out)
{
    (void)job;
    *out = thing_make();
    return *out ? 0 : KP_ENOMEM;
}

static inline int ours_destroy(kp_job *job, void *thing)
{
    (void)job;
    thing_free(thing);
    return 0;
}

/* Variants of the hit path (kp_options.hits); docs/PERFORMANCE.md explains the names. */
struct variant {
    const char *name;
    int32_t     hits;
};

static const struct variant variants[] = {
    { "locked", KP_HITS_LOCKED },
#ifdef BENCH_PORTABLE               /* in cases that are about the difference */
    { "portable", KP_HITS_PORTABLE },
#endif
    { "rseq", KP_HITS_QUICK },
};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Without restartable sequences, the shipped variant does the same as the portable one. */
static inline const char *variant_name(int v)
{
#ifdef RSEQ_SIG
    bool here = __rseq_size > 0;
#else
    bool here = false;
#endif

    return variants[v].hits == KP_HITS_QUICK && !here ? "no rseq" : variants[v].name;
}

static inline void ours_must(int rc, const char *what)
{
    if (rc < 0) bench_fail(what, kp_strerror(rc));
}

static inline kp_options ours_options(int64_t max_live)
{
    return (kp_options){
        .driver = { .create = ours_create, .destroy = ours_destroy, .flags = KP_NEVER_BLOCKS },
        .limits = { .max_live = max_live, .max_creating = KP_UNLIMITED },
    };
}

static inline struct ours ours_open(kp_options options, const struct variant *v)
{
    struct ours o = { 0 };

    options.hits = v->hits;
    ours_must(kp_pool_open(&options, &o.pool), "kp_pool_open");
    ours_must(kp_pin(o.pool, kp_str("the only one"), &o.pinned), "kp_pin");
    return o;
}

static inline void ours_close(struct ours *o)
{
    if (kp_pool_close(o->pool, KP_CLOSE_WAIT, 0) != 0) bench_fail("kp_pool_close", "leases left");
}

/* Into a variable of the caller's, as in a program: copying a whole lease right after it was
 * written would have to wait for the writes. */
static inline void ours_get(const struct ours *o, kp_key key, kp_lease *lease)
{
    ours_must(kp_get(o->pool, key, NULL, lease), "kp_get");
}

/* Makes `many` idle resources of one key. */
static inline void ours_fill(const struct ours *o, kp_key key, uint32_t many)
{
    kp_lease *leases = calloc(many, sizeof *leases);

    if (!leases) bench_fail("ours_fill", "out of memory");
    for (uint32_t i = 0; i < many; i++) ours_get(o, key, &leases[i]);
    for (uint32_t i = 0; i < many; i++) kp_release(&leases[i]);
    free(leases);
}

static inline void ours_pinned_pairs(void *self, uint32_t n)
{
    const struct ours *o = self;

    for (uint32_t i = 0; i < n; i++) {
        kp_lease lease;
        ours_get(o, o->pinned, &lease);
        thing_use(lease.resource);
        kp_release(&lease);
    }
}

/* ---- keys of 16 bytes ------------------------------------------------------------------------ */

enum { KEY_SIZE = 16 };

/* `many` keys like "tenant-00000042", each with its NUL, one after the other. */
static inline char *keys_make(uint32_t many)
{
    char *keys = malloc((size_t)many * KEY_SIZE);

    if (!keys) bench_fail("keys_make", "out of memory");
    for (uint32_t i = 0; i < many; i++)
        snprintf(keys + (size_t)i * KEY_SIZE, KEY_SIZE, "tenant-%08u", (unsigned)(i % 100000000));
    return keys;
}

static inline const char *keys_at(const char *keys, uint32_t i)
{
    return keys + (size_t)i * KEY_SIZE;
}

/* What the cases with many keys use: a pool, or a hash of lists. */
struct keyed {
    struct ours ours;
    void       *lists;
    const char *keys;
    uint32_t    count;
    uint64_t    random;
};

static inline kp_key keyed_draw(struct keyed *k)
{
    return kp_bytes(keys_at(k->keys, bench_below(&k->random, k->count)), KEY_SIZE);
}

/* Makes one idle resource for each key. */
static inline void ours_make_keys(struct keyed *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        kp_lease lease;
        ours_get(&k->ours, kp_bytes(keys_at(k->keys, i), KEY_SIZE), &lease);
        kp_release(&lease);
    }
}

static inline void ours_keyed_pairs(void *self, uint32_t n)
{
    struct keyed *k = self;

    for (uint32_t i = 0; i < n; i++) {
        kp_lease lease;
        ours_get(&k->ours, keyed_draw(k), &lease);
        thing_use(lease.resource);
        kp_release(&lease);
    }
}

/* ---- the peer -------------------------------------------------------------------------------- */

#ifdef KP_HAVE_APR
enum { PEERS = 1 };

typedef apr_reslist_t peer_list;

static apr_pool_t *peer_root;           /* of all lists */

static inline apr_status_t peer_create(void **out, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    *out = thing_make();
    return *out ? APR_SUCCESS : APR_ENOMEM;
}

static inline apr_status_t peer_destroy(void *thing, void *params, apr_pool_t *pool)
{
    (void)params, (void)pool;
    thing_free(thing);
    return APR_SUCCESS;
}

static inline void peer_must(apr_status_t status, const char *what)
{
    if (status != APR_SUCCESS) bench_fail(what, "refused");
}

static inline peer_list *peer_open(uint32_t size)
{
    peer_list *list = NULL;

    if (!peer_root) {
        peer_must(apr_initialize(), "apr_initialize");
        peer_must(apr_pool_create(&peer_root, NULL), "apr_pool_create");
    }
    peer_must(apr_reslist_create(&list, 0, (int)size, (int)size, 0, peer_create, peer_destroy, NULL,
                                 peer_root), "apr_reslist_create");
    return list;
}

/* Destroys what is idle; the memory of the lists is freed when the process ends. */
static inline void peer_close(peer_list *list)
{
    peer_must(apr_reslist_destroy(list), "apr_reslist_destroy");
}

static inline void *peer_get(peer_list *list)
{
    void *thing = NULL;

    peer_must(apr_reslist_acquire(list, &thing), "apr_reslist_acquire");
    return thing;
}

static inline void peer_release(peer_list *list, void *thing)
{
    apr_reslist_release(list, thing);
}

static inline void peer_discard(peer_list *list, void *thing)
{
    apr_reslist_invalidate(list, thing);
}

static inline void *peer_lists(const char *keys, uint32_t many, uint32_t size)
{
    apr_hash_t *hash = NULL;

    for (uint32_t i = 0; i < many; i++) {
        peer_list *list = peer_open(size);
        if (!hash) hash = apr_hash_make(peer_root);
        apr_hash_set(hash, keys_at(keys, i), KEY_SIZE, list);
    }
    return hash;
}

static inline peer_list *peer_find(void *lists, kp_key key)
{
    return apr_hash_get(lists, key.data, (apr_ssize_t)key.size);
}
#else
enum { PEERS = 0 };                     /* nothing of this is called */

typedef void peer_list;

static inline peer_list *peer_open(uint32_t size) { return (void)size, NULL; }
static inline void peer_close(peer_list *list) { (void)list; }
static inline void *peer_get(peer_list *list) { return list; }
static inline void peer_release(peer_list *list, void *thing) { (void)list, (void)thing; }
static inline void peer_discard(peer_list *list, void *thing) { (void)list, (void)thing; }
static inline void *peer_lists(const char *keys, uint32_t many, uint32_t size)
{
    return (void)keys, (void)many, (void)size, NULL;
}
static inline peer_list *peer_find(void *lists, kp_key key) { return (void)key, lists; }
#endif

/* Makes `many` idle resources. */
static inline void peer_fill(peer_list *list, uint32_t many)
{
    void **things = calloc(many, sizeof *things);

    if (!things) bench_fail("peer_fill", "out of memory");
    for (uint32_t i = 0; i < many; i++) things[i] = peer_get(list);
    for (uint32_t i = 0; i < many; i++) peer_release(list, things[i]);
    free(things);
}

static inline void peer_pairs(void *self, uint32_t n)
{
    peer_list *list = self;

    for (uint32_t i = 0; i < n; i++) {
        void *thing = peer_get(list);
        thing_use(thing);
        peer_release(list, thing);
    }
}

static inline void peer_make_keys(struct keyed *k, uint32_t size)
{
    k->lists = peer_lists(k->keys, k->count, size);
    for (uint32_t i = 0; i < k->count; i++) {
        peer_list *list = peer_find(k->lists, kp_bytes(keys_at(k->keys, i), KEY_SIZE));
        peer_release(list, peer_get(list));
    }
}

static inline void peer_keyed_pairs(void *self, uint32_t n)
{
    struct keyed *k = self;

    for (uint32_t i = 0; i < n; i++) {
        peer_list *list = peer_find(k->lists, keyed_draw(k));
        void *thing = peer_get(list);
        thing_use(thing);
        peer_release(list, thing);
    }
}

/* ---- side by side ---------------------------------------------------------------------------- */

/* Our variants, the limit, the peer. */
struct compare {
    struct bench_subject all[VARIANTS + 2];
};
enum { LIMIT = VARIANTS, PEER = VARIANTS + 1 };

static inline void compare_times(struct compare *c, int which, void (*times)(void *, uint32_t),
                                 void *self)
{
    const char *name = which == PEER ? "apr_reslist" : which == LIMIT ? "P" : variant_name(which);

    c->all[which] = (struct bench_subject){ .name = name, .self = self, .times = times };
}

static inline void compare_sample(struct compare *c, int which, double (*sample)(void *, double),
                                  void *self)
{
    compare_times(c, which, NULL, self);
    c->all[which].sample = sample;
}

/* The limit is P, unless the case has set another one. */
static inline void compare_run(const struct bench *b, struct compare *c)
{
    if (!c->all[LIMIT].name) c->all[LIMIT] = bench_limit();
    bench_rounds(b, c->all, c->all[PEER].name ? PEER + 1 : LIMIT + 1);
}

/* Begins the line of a variant; bench_close ends it. */
static inline void compare_open(const struct bench *b, const struct compare *c, const char *name,
                                int v)
{
    bench_open(b, name, &c->all[v], &c->all[LIMIT], c->all[PEER].name ? &c->all[PEER] : NULL);
}

/* Prints all lines of a case that has no fields to add. */
static inline void compare_print(const struct bench *b, const struct compare *c, const char *name)
{
    for (int v = 0; v < VARIANTS; v++) {
        compare_open(b, c, name, v);
        bench_close(b);
    }
}

#endif
