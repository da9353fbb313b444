/* SPDX-License-Identifier: MIT
 *
 * The words: versions, errors, keys, time, what a get may say (ask), what it gets (lease), and why
 * it got nothing (why).
 */
#ifndef KEYEDPOOL_WORDS_H
#define KEYEDPOOL_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KP_VERSION_MAJOR 0
#define KP_VERSION_MINOR 1
#define KP_VERSION_PATCH 0
#define KP_VERSION (KP_VERSION_MAJOR * 1000000 + KP_VERSION_MINOR * 1000 + KP_VERSION_PATCH)
#define KP_AT_LEAST(major, minor, patch) \
    (KP_VERSION >= (major) * 1000000 + (minor) * 1000 + (patch))

#ifndef KP_API
#  if defined(__GNUC__)
#    define KP_API __attribute__((visibility("default")))
#  else
#    define KP_API
#  endif
#endif
#if defined(__GNUC__)
#  define KP_NODISCARD __attribute__((warn_unused_result))
#  define KP_MAYBE_UNUSED __attribute__((unused))
/* KP_AUTO_RELEASE kp_lease lease = {0};
 * Released where the variable goes out of scope, unless it was ended before, through this variable;
 * to hand the lease on, copy it and set this one to {0}. Not where the thread ends (pthread_cancel,
 * pthread_exit), unless glibc unwinds it: with -fexceptions, or as C++. */
#  define KP_AUTO_RELEASE __attribute__((cleanup(kp__auto_release)))
/* KP_AUTO_CLOSE   kp_scope scope = {0}; */
#  define KP_AUTO_CLOSE   __attribute__((cleanup(kp_scope_close)))
#else                                   /* no AUTO macros here: absent is better
                                           than silently empty */
#  define KP_NODISCARD
#  define KP_MAYBE_UNUSED
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kp_pool kp_pool;
typedef struct kp_loop kp_loop;         /* loop.h */

/* ---- special values of numbers (R2) ---------------------------------------------------------- */

/* All fit in an int, and are too odd to come out of arithmetic by accident. */
#define KP_NONE      (-2147483601)      /* really zero: none, at once */
#define KP_UNLIMITED (-2147483602)      /* a count without bound */
#define KP_OFF       (-2147483603)      /* never: a time that does not come, a feature that is
                                           not wanted */
#define KP_ONCE      (-2147483604)      /* cache_failure_ms only: to the next request, then
                                           forgotten */

#define KP_SECONDS(n) (INT64_C(1000) * (n))      /* for the fields that end in _ms */
#define KP_MINUTES(n) (INT64_C(60000) * (n))
#define KP_HOURS(n)   (INT64_C(3600000) * (n))

/* ---- errors: one table; docs/ERRORS.md, the command and kp_error_find come from it ----------- */

#define KP_ERROR_MAP(X) /* name, number, sentence, can trying again help */                        \
    X(KP_ETIMEDOUT, -7001, "the deadline passed before a resource was ready",                      \
      KP_RETRY_LATER)                                                                              \
    X(KP_EAGAIN, -7002, "nothing is free right now, and the request said not to wait",             \
      KP_RETRY_LATER)                                                                              \
    X(KP_EFULL, -7003, "a limit on waiting requests, on resources or on keys is reached",          \
      KP_RETRY_LATER)                                                                              \
    X(KP_ECREATE, -7004, "the driver could not create a resource; its own reason is in kp_why",    \
      KP_RETRY_NOW)                                                                                \
    X(KP_EREFUSED, -7005, "the driver could not create a resource, and trying again cannot help",  \
      KP_RETRY_NEVER)                                                                              \
    X(KP_EBREAKER, -7006, "the circuit of this key is open after repeated failures",               \
      KP_RETRY_LATER)                                                                              \
    X(KP_ECANCELED, -7007, "the request was cancelled", KP_RETRY_NEVER)                            \
    X(KP_ECLOSED, -7008, "the pool is closing or closed",                                          \
      KP_RETRY_NEVER)                                                                              \
    X(KP_EFORKED, -7009, "this pool was opened before fork and does not serve child processes",    \
      KP_RETRY_NEVER)                                                                              \
    X(KP_ENOMEM, -7010, "out of memory",                                                           \
      KP_RETRY_LATER)                                                                              \
    X(KP_ECONFIG, -7011, "an option is impossible or contradicts another; kp_why names the field", \
      KP_RETRY_NEVER)                                                                              \
    X(KP_EMISUSE, -7012, "the call breaks its contract; kp_why says what you most likely did",     \
      KP_RETRY_NEVER)                                                                              \
    X(KP_ENOTFOUND, -7013, "no such key, resource or option",                                      \
      KP_RETRY_NEVER)                                                                              \
    X(KP_EDEADLK, -7014,                                                                           \
      "deadlock: all holders of what you need are waiting; give back what you hold first",         \
      KP_RETRY_NEVER)                                                                              \
    X(KP_EGONE, -7015, "the peer of this resource is gone; others of its key may be lost too",     \
      KP_RETRY_NOW)

typedef enum kp_retry { KP_RETRY_NEVER, KP_RETRY_NOW, KP_RETRY_LATER } kp_retry;

enum {
#define X(name, number, sentence, retry) name = number,
    KP_ERROR_MAP(X)
#undef X
    KP_PENDING = 2147483601             /* a driver function's "I will call kp_job_done". As odd as
                                           KP_NONE: a driver may hand on a library's 1, or true */
};

typedef struct kp_error {
    int         code;
    kp_retry    retry;
    const char *name, *sentence;
} kp_error;

/* The row of a code; for a number that is not the library's, a row that says so. Never NULL.
 * Threads: any thread, also in a signal handler. Blocks: no. Calls: nothing. Owns: nothing, the row
 * is static. Errors: none. Order: none. Since: 0.1 */
KP_API const kp_error *kp_error_find(int code);

/* The sentence of a code, never NULL.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_error_find. */
static inline const char *kp_strerror(int code) { return kp_error_find(code)->sentence; }

/* Why the answer was no. The caller provides it; its size never changes. `text` is one line that
 * can be understood on its own. */
typedef struct kp_why {
    int      code, vendor_code;         /* KP_E...; what kp_job_fail was given (errno, SQLSTATE,
                                           HTTP status); where uses opened the circuit: the
                                           status of the latest that failed */
    char     limit[32];                 /* the option that bound: "max_live", "budget.max_lent",
                                           "max_creating" */
    char     field[32];                 /* KP_ECONFIG: the option at fault */
    int64_t  waited_ms, retry_after_ms; /* how long it waited; in how many ms the pause, the circuit
                                           or the rate lets another try through, a failure is no
                                           longer kept (cache_failure_ms), or the estimate of
                                           refuse_late says that one may be worth while. 0: none of
                                           them keeps it from trying now; KP_OFF: trying again
                                           cannot help, or not before kp_retry_now or new limits */
    uint32_t ahead;                     /* requests ahead of this one when it gave up */
    uint32_t live, creating, idle, lent, closing, waiting;      /* this key at that moment (L2) */
    int64_t  max_live;                  /* of this key; KP_UNLIMITED if it has no such limit */
    int64_t  oldest_lent_ms;            /* the longest current lease of this key ... */
    char     oldest_tag[40];            /* ... and who holds it */
    char     text[200];                 /* the sentence, with the last cause of failure */
    uint64_t reserved[8];
} kp_why;

/* ---- keys ------------------------------------------------------------------------------------ */

/* What a resource is for; less than 4 GiB. Read during the call and copied if it is kept; the pool
 * never takes it over. {0} is a valid key: "the only one". Where the pool hands you a key, data is
 * its own copy: the bytes and a NUL, or the struct. */
typedef struct kp_key {
    const void *data;
    size_t      size;
} kp_key;

#define KP_EVERY_KEY kp_bytes(NULL, SIZE_MAX)     /* where a function allows KP_EVERY_KEY */

/* A key of bytes. It points to them: they are read when it is passed to a call.
 * Threads: any thread. Blocks: no. Calls: nothing. Owns: nothing. Errors: none. Order: none.
 * Since: 0.1 */
static inline kp_key kp_bytes(const void *data, size_t size)
{
    kp_key key;
    key.data = data;
    key.size = size;
    return key;
}

/* A string as a key, without its NUL; NULL is the empty key.
 * Threads, Blocks, Calls, Owns, Errors, Order, Since: as kp_bytes. */
static inline kp_key kp_str(const char *s)
{
    size_t n = 0;
    if (s) while (s[n]) n++;
    return kp_bytes(s, n);
}

/* A struct as a key. The mark in its size makes a pool without a key type refuse it (padding and
 * pointers would be compared), and a pool with a key type refuse all other keys. Writing
 * kp_bytes(&s, sizeof s) by hand is unchecked in C. */
#define KP_STRUCT_KEY (SIZE_MAX / 2 + 1)
#define KP_KEY(p)     kp_bytes((p), sizeof *(p) | KP_STRUCT_KEY)

/* A struct key described by its fields: padding and pointers are not compared, and reports can
 * print the key. */
typedef enum kp_field_kind {
    KP_FIELD_END,
    KP_FIELD_BYTES,                     /* an integer, an enum, a fixed array: compared as bytes */
    KP_FIELD_STR,                       /* char *, compared and copied as a string; NULL equals
                                           "" */
    KP_FIELD_TEXT,                      /* char[n], compared up to the first NUL */
    KP_FIELD_UINT                       /* as BYTES, for an unsigned integer: reports print it so */
} kp_field_kind;

typedef struct kp_field {
    const char   *name;
    kp_field_kind kind;
    uint32_t      offset, size;
} kp_field;

#define KP__FIELD(type, f, kind) \
    { #f, kind, (uint32_t)offsetof(type, f), (uint32_t)sizeof(((type *)0)->f) }
#define KP_INT(type, f)  KP__FIELD(type, f, KP__INT_KIND(((type *)0)->f))
#define KP_STR(type, f)  KP__FIELD(type, f, KP_FIELD_STR)
#define KP_TEXT(type, f) KP__FIELD(type, f, KP_FIELD_TEXT)
#define KP_END           { NULL, KP_FIELD_END, 0, 0 }

#ifndef __cplusplus
#  define KP__INT_KIND(value)                                                                      \
    _Generic((value), unsigned char: KP_FIELD_UINT, unsigned short: KP_FIELD_UINT,                 \
             unsigned: KP_FIELD_UINT, unsigned long: KP_FIELD_UINT,                                \
             unsigned long long: KP_FIELD_UINT, default: KP_FIELD_BYTES)
#else                                   /* by the size of what is declared and never called */
#  define KP__INT_KIND(value) (sizeof kp__int_kind(value) == 2 ? KP_FIELD_UINT : KP_FIELD_BYTES)
extern "C++" {
template <class T> char (&kp__int_kind(const T &))[1];
char (&kp__int_kind(const unsigned char &))[2];
char (&kp__int_kind(const unsigned short &))[2];
char (&kp__int_kind(const unsigned &))[2];
char (&kp__int_kind(const unsigned long &))[2];
char (&kp__int_kind(const unsigned long long &))[2];
}
#endif

typedef struct kp_key_type {            /* {0}: keys are bytes */
    size_t          size;               /* of the struct; a key of another size, or kp_str, is
                                           KP_EMISUSE */
    const kp_field *fields;             /* either this, ending in KP_END; it is not copied, and has
                                           to stay as driver.ctx does ... */
    /* ... or these four, which must be pure (R3). Hits by such a key need the lock, or a pin */
    uint64_t (*hash)(const void *key, uint64_t seed, void *ctx);
    bool     (*equal)(const void *a, const void *b, void *ctx);
    /* deep copy into size bytes of ours; 0, or negative: the call answers KP_ENOMEM */
    int      (*copy)(const void *from, void *to, void *ctx);
    /* free what copy took; NULL: it took nothing */
    void     (*drop)(void *copied, void *ctx);
    /* for reports, as snprintf; optional */
    size_t   (*text)(const void *key, char *buf, size_t size, void *ctx);
    void           *ctx;
    void          (*reserved[2])(void);
} kp_key_type;

/* ---- time ------------------------------------------------------------------------------------ */

/* Timeouts are int64_t, in ms, and end in _ms: 0 is the default, KP_NONE means do not wait, KP_OFF
 * for ever (R2). Each is turned into one absolute deadline when the call begins, on the clock of
 * the pool's world (L4). Calls that share one deadline share this (kp_deadline_in). It is a struct,
 * so that `.until = 30` draws a warning. {0}: not said. */
typedef struct kp_deadline { uint64_t ns; } kp_deadline;

/* ---- one request: what it may say, what it gets ---------------------------------------------- */

enum {                                  /* kp_ask.flags */
    KP_DONT_WAIT   = 1 << 0,            /* take an idle one, else KP_EAGAIN: no waiting, no create
                                           (but validate runs if it is due) */
    KP_DONT_CREATE = 1 << 1,            /* only wait for one that is returned */
    KP_FRESH       = 1 << 2             /* a newly made one; an idle one of this key is destroyed if
                                           the new one needs its place */
};

/* Everything that a get may say besides its key. {0} and NULL are valid. Its size never changes. */
typedef struct kp_ask {
    int64_t     within_ms;              /* [kp_options.deadline_ms] and/or ... */
    kp_deadline until;                  /* ... the earlier of the two counts */
    const char *tag;                    /* who asks, for kp_explain, kp_why and events. The pointer
                                           is kept: use a literal */
    kp_why     *why;                    /* filled if the answer is no, else all zero; must live
                                           until the answer */
    uint32_t    flags, reserved0;
    int64_t     reserved[3];
} kp_ask;

#ifndef __cplusplus
#  define KP_ASK(...) (&(const kp_ask){ __VA_ARGS__ })
#  define KP_IN_S(n)  KP_ASK(.within_ms = KP_SECONDS(n))
#  define KP_IN_MS(n) KP_ASK(.within_ms = (n))
#endif

/* The borrower's right to a resource. It is a number, like a file descriptor: a copy of it is the
 * same lease, which ends once, through any of the copies. {0} is no lease: ending it does nothing.
 * Its size never changes. */
typedef struct kp_lease {
    void    *resource;                  /* NULL once this copy has been ended */
    uint64_t opaque[3];                 /* numbers, never pointers; looked up with bounds checks
                                           (L10) */
} kp_lease;

#ifdef __cplusplus
}
#endif
#endif
