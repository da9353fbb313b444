/* SPDX-License-Identifier: MIT
 *
 * The real world: the monotonic clock, the C allocator, a generator seeded by the kernel, and
 * sleeping on a word.
 *
 * Before it sleeps, a thread yields for a moment, if that paid lately, because being put to sleep
 * and woken costs more. It sleeps on a futex where there is one. Elsewhere, or with
 * -DKP_NO_FUTEX=1, there is a parking table: a word's address chooses one of a few
 * mutex-and-condition pairs, and a wake wakes everybody there. That is allowed (park may return
 * early), and correct: park compares the word under the mutex, and wake, which is called after the
 * word was changed, takes that mutex.
 */
#include "base/world.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined __linux__
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#endif

_Atomic uint32_t kp__forks;

static uint64_t life_now(void *ctx)
{
    struct timespec now;
    uint64_t ns;

    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return ns != 0 ? ns : 1;
}

static struct timespec life_timespec(uint64_t ns)
{
    uint64_t s = ns / 1000000000u;
    struct timespec ts = {
        .tv_sec = (time_t)(s < INT32_MAX ? s : INT32_MAX),      /* 68 years, in any time_t */
        .tv_nsec = (long)(ns % 1000000000u),
    };

    return ts;
}

static void *life_alloc(size_t size, size_t align, void *ctx)
{
    void *p;

    (void)ctx;
    if (align < sizeof(void *))
        align = sizeof(void *);
    return posix_memalign(&p, align, size) == 0 ? p : NULL;
}

static void life_free(void *p, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(p);
}

#ifdef MADV_HUGEPAGE

/* From so many bytes on, large pages are asked for: with small ones, most of the time it takes to
 * get much memory, use it and give it back goes into the pages. For less memory, a large page would
 * waste too much. */
enum { LIFE_DENSE = 8 << 20 };

/* Every page size that the library may meet divides this. */
enum { LIFE_PAGE = 64 << 10 };

/* Advise the kernel about the whole pages in there. It need not follow the advice, so its answer is
 * not looked at. */
static void life_advise(void *p, size_t size, int advice)
{
    size_t before = (0 - (uintptr_t)p) % LIFE_PAGE;
    int saved = errno;

    if (size < before + LIFE_PAGE) return;
    (void)madvise((char *)p + before, (size - before) / LIFE_PAGE * LIFE_PAGE, advice);
    errno = saved;
}

static void life_dense(void *p, size_t size, void *ctx)
{
    (void)ctx;
    if (size >= LIFE_DENSE) life_advise(p, size, MADV_HUGEPAGE);
}

static void life_hollow(void *p, size_t size, void *ctx)
{
    (void)ctx;
    life_advise(p, size, MADV_DONTNEED);
}

#else
#define life_dense NULL
#define life_hollow NULL
#endif

/* ---- randomness: xoshiro256++ by D. Blackman and S. Vigna (public domain), one per thread ---- */

static uint64_t life_rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void life_seed(uint64_t state[4])
{
    if (getentropy(state, 4 * sizeof *state) != 0) {
        /* Refused, as in a sandbox: not secret, but different for every thread and start. */
        state[0] = life_now(NULL);
        state[1] = (uint64_t)(uintptr_t)state;
        state[2] = (uint64_t)getpid();
    }
    state[3] |= 1;                      /* all zeros would stay all zeros */
}

static uint64_t life_random(void *ctx)
{
    static _Thread_local uint64_t s[4] KP__TLS;
    static _Thread_local uint32_t seeded KP__TLS;
    /* relaxed: only this process itself stores it, when it begins as the child of a fork. Parent
     * and child must not draw the same numbers */
    uint32_t process = atomic_load_explicit(&kp__forks, memory_order_relaxed) + 1;
    uint64_t result, shifted;

    (void)ctx;
    if (seeded != process) {
        life_seed(s);
        seeded = process;
    }
    result = life_rotl(s[0] + s[3], 23) + s[0];
    shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = life_rotl(s[3], 45);
    return result;
}

/* ---- sleeping: at first, yielding ------------------------------------------------------------ */

enum {
    LIFE_YIELDS = 50,       /* yields at most: about as long as a wake by another processor takes */
    LIFE_YIELDS_LEAST = 2,  /* yields if it did not pay lately ... */
    LIFE_RARELY = 16,       /* ... and then only before one sleep in so many, to learn whether it
                               pays again: if not, it may cost a switch to another thread and
                               back */
    LIFE_MOMENT_NS = 200000 /* how long in all: past that, others keep this processor busy, and a
                               thread that was woken gets it sooner than one that yielded */
};

/* The thread that is going to change the word may be the next to run on this processor, and then
 * nobody has to be woken. True: the word has changed. */
static bool life_yield(const uint32_t *word, uint32_t while_it_is, uint64_t until_ns)
{
    static _Thread_local int yields = LIFE_YIELDS;
    static _Thread_local unsigned sleeps;

    if (yields == LIFE_YIELDS_LEAST && ++sleeps % LIFE_RARELY != 0) return false;
    uint64_t now = life_now(NULL), end = now + LIFE_MOMENT_NS;

    if (until_ns < end) end = until_ns;
    for (int i = 0; i < yields && now < end; i++, now = life_now(NULL)) {
        /* relaxed: it only decides whether to sleep */
        if (__atomic_load_n(word, __ATOMIC_RELAXED) != while_it_is) {
            if (i > 0) yields = LIFE_YIELDS;
            return true;
        }
        sched_yield();
    }
    yields = yields / 2 > LIFE_YIELDS_LEAST ? yields / 2 : LIFE_YIELDS_LEAST;
    return false;
}

#if KP__FUTEX /* ---- sleeping: futex ---------------------------------------------------------- */

/* As in linux/futex.h, which musl does not come with. */
enum { LIFE_WAIT_BITSET_PRIVATE = 9 | 128, LIFE_WAKE_PRIVATE = 1 | 128 };
#define LIFE_ANY_BIT UINT32_MAX

/* syscall() is no cancellation point. Its results are not looked at: whatever the reason, the
 * thread is awake, and the caller looks at the word. */

static void life_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    struct timespec until = life_timespec(until_ns);
    int saved = errno;

    (void)ctx;
    if (life_yield(word, while_it_is, until_ns)) return;
    syscall(SYS_futex, word, LIFE_WAIT_BITSET_PRIVATE, while_it_is,
            until_ns != UINT64_MAX ? &until : NULL, NULL, LIFE_ANY_BIT);
    errno = saved;
}

static void life_wake(uint32_t *word, int how_many, void *ctx)
{
    int saved = errno;

    (void)ctx;
    syscall(SYS_futex, word, LIFE_WAKE_PRIVATE, how_many, NULL, NULL, 0);
    errno = saved;
}

#else /* ---- sleeping: the parking table ------------------------------------------------------- */

#include <pthread.h>

enum { LIFE_BERTH_BITS = 6 };

static struct life_berth {
    pthread_mutex_t mutex;
    pthread_cond_t roused;
    unsigned sleepers;                  /* guard: mutex */
} life_berths[1 << LIFE_BERTH_BITS];

static pthread_once_t life_once = PTHREAD_ONCE_INIT;

/* In a child of fork, too: threads that do not exist there may have held these mutexes, or slept
 * here. */
static void life_fill_berths(void)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (size_t i = 0; i < sizeof life_berths / sizeof *life_berths; i++) {
        pthread_mutex_init(&life_berths[i].mutex, NULL);
        pthread_cond_init(&life_berths[i].roused, &attr);
        life_berths[i].sleepers = 0;
    }
    pthread_condattr_destroy(&attr);
}

static void life_make_berths(void)
{
    life_fill_berths();
    (void)pthread_atfork(NULL, NULL, life_fill_berths);
}

static struct life_berth *life_berth_of(const uint32_t *word)
{
    uint64_t spread = (uint64_t)(uintptr_t)word * 0x9e3779b97f4a7c15u;     /* 2^64 / golden ratio */

    pthread_once(&life_once, life_make_berths);
    return &life_berths[spread >> (64 - LIFE_BERTH_BITS)];
}

static void life_park(uint32_t *word, uint32_t while_it_is, uint64_t until_ns, void *ctx)
{
    struct life_berth *b = life_berth_of(word);
    struct timespec until = life_timespec(until_ns);
    int cancel;

    (void)ctx;
    if (life_yield(word, while_it_is, until_ns)) return;
    /* Waiting on a condition is a cancellation point. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    pthread_mutex_lock(&b->mutex);
    /* relaxed: ordered by the mutex, which wake takes after the word was changed */
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == while_it_is) {
        b->sleepers++;
        if (until_ns == UINT64_MAX)
            pthread_cond_wait(&b->roused, &b->mutex);
        else
            pthread_cond_timedwait(&b->roused, &b->mutex, &until);
        b->sleepers--;
    }
    pthread_mutex_unlock(&b->mutex);
    pthread_setcancelstate(cancel, NULL);
}

static void life_wake(uint32_t *word, int how_many, void *ctx)
{
    struct life_berth *b = life_berth_of(word);

    (void)ctx;
    (void)how_many;                     /* sleepers may wait for other words: all have to look */
    pthread_mutex_lock(&b->mutex);
    if (b->sleepers != 0)
        pthread_cond_broadcast(&b->roused);
    pthread_mutex_unlock(&b->mutex);
}

#endif

const struct kp__world kp__life = {
    .now_ns = life_now,
    .alloc = life_alloc,
    .free = life_free,
    .dense = life_dense,
    .hollow = life_hollow,
    .random = life_random,
    .park = life_park,
    .wake = life_wake,
};
