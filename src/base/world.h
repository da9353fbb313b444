/* SPDX-License-Identifier: MIT
 *
 * The world as a table of functions: time, memory, randomness, sleeping and waking. kp__life is the
 * real one; tests and simulations bring their own. Nothing else in the library asks the operating
 * system for these.
 *
 * Every function may be called from any thread at any time.
 */
#ifndef KP__BASE_WORLD_H
#define KP__BASE_WORLD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What kp__life sleeps on. On 32-bit systems the futex call has two forms for two sizes of time_t;
 * the parking table (world.c) serves them well enough. */
#if defined __linux__ && UINTPTR_MAX > UINT32_MAX && !(defined KP_NO_FUTEX && KP_NO_FUTEX)
#define KP__FUTEX 1
#else
#define KP__FUTEX 0
#endif

/* A few bytes, found with one load. glibc has room for such in modules that are loaded later;
 * others, as musl, do not load them. */
#if defined(__GNUC__) && defined(__GLIBC__)
#define KP__TLS __attribute__((tls_model("initial-exec")))
#else
#define KP__TLS
#endif

struct kp__world {
    uint64_t (*now_ns)(void *ctx);                          /* monotonic, never 0 */
    void *(*alloc)(size_t size, size_t align, void *ctx);   /* not zeroed; NULL: out of memory */
    void (*free)(void *p, size_t size, void *ctx);
    /* These bytes, the beginning of what was allocated, will all be used: they may come in large
     * pages. NULL: the hint is ignored. */
    void (*dense)(void *p, size_t size, void *ctx);
    /* The addresses stay ours, but what is stored there is no longer needed: the system may have
     * the memory back until it is written again. A read before that finds what was there, or zero.
     * NULL: the memory stays. */
    void (*hollow)(void *p, size_t size, void *ctx);
    uint64_t (*random)(void *ctx);

    /* Sleep while *word is `while_it_is` and until_ns has not come (UINT64_MAX: no end). The
     * compare and the falling asleep are one step with respect to wake. It may return early, and is
     * no cancellation point. */
    void (*park)(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx);

    /* Wake at least how_many of those asleep on word, or all if there are fewer (INT_MAX: all).
     * `word` is used as an address only: its memory may be gone already. */
    void (*wake)(uint32_t *word, int how_many, void *ctx);

    void *ctx;
};

/* For a variable that all files of the library use, and nobody else: it is read without going
 * through the linker's table (GOT). tools/mutate.py defines this as nothing. */
#if !defined(KP__INSIDE) && defined(__GNUC__)
#define KP__INSIDE __attribute__((visibility("hidden")))
#elif !defined(KP__INSIDE)
#define KP__INSIDE
#endif

extern KP__INSIDE const struct kp__world kp__life;

/* How many forks this process is away from its first ancestor that used the library. */
extern KP__INSIDE _Atomic uint32_t kp__forks;

static inline uint64_t kp__now(const struct kp__world *w)
{
    return w->now_ns(w->ctx);
}

/* All of this memory will be used. */
static inline void kp__dense(const struct kp__world *w, void *p, size_t size)
{
    if (w->dense) w->dense(p, size, w->ctx);
}

/* Memory that is not zeroed, or NULL. Its first `dense` bytes will all be used. align is a power of
 * two. */
static inline void *kp__alloc_raw(const struct kp__world *w, size_t size, size_t align,
                                  size_t dense)
{
    void *p = w->alloc(size, align, w->ctx);

    if (p != NULL) kp__dense(w, p, dense);
    return p;
}

/* Zeroed memory, or NULL. */
static inline void *kp__alloc(const struct kp__world *w, size_t size, size_t align)
{
    void *p = kp__alloc_raw(w, size, align, size);

    return p != NULL ? memset(p, 0, size) : NULL;
}

static inline void kp__hollow(const struct kp__world *w, void *p, size_t size)
{
    if (w->hollow) w->hollow(p, size, w->ctx);
}

static inline void kp__free(const struct kp__world *w, void *p, size_t size)
{
    if (p != NULL)
        w->free(p, size, w->ctx);
}

#endif
