/* SPDX-License-Identifier: MIT
 *
 * The functions that code compiled with -fsanitize=thread calls, in place of ThreadSanitizer's own
 * library: for every access to memory, with its size, and for every atomic operation, with its
 * memory order.
 */
#include "engine.h"

#define PC __builtin_return_address(0)

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc);
void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}

#define PLAIN(name, size)                                                                          \
    void __tsan_read##name(void *p);                                                               \
    void __tsan_read##name(void *p)                                                                \
    {                                                                                              \
        if (ex.plain) ex_plain(p, size, false, PC);                                                \
    }                                                                                              \
    void __tsan_write##name(void *p);                                                              \
    void __tsan_write##name(void *p)                                                               \
    {                                                                                              \
        if (ex.plain) ex_plain(p, size, true, PC);                                                 \
    }

PLAIN(1, 1)
PLAIN(2, 2)
PLAIN(4, 4)
PLAIN(8, 8)
PLAIN(16, 16)

#define UNALIGNED(size)                                                                            \
    void __tsan_unaligned_read##size(void *p);                                                     \
    void __tsan_unaligned_read##size(void *p)                                                      \
    {                                                                                              \
        if (ex.plain) ex_plain(p, size, false, PC);                                                \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *p);                                                    \
    void __tsan_unaligned_write##size(void *p)                                                     \
    {                                                                                              \
        if (ex.plain) ex_plain(p, size, true, PC);                                                 \
    }

UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

void __tsan_read_range(void *p, size_t size);
void __tsan_read_range(void *p, size_t size)
{
    if (ex.plain && size) ex_plain(p, size, false, PC);
}

void __tsan_write_range(void *p, size_t size);
void __tsan_write_range(void *p, size_t size)
{
    if (ex.plain && size) ex_plain(p, size, true, PC);
}

#define RMW(bits, type, name, what)                                                                \
    type __tsan_atomic##bits##_##name(volatile type *p, type v, int order);                        \
    type __tsan_atomic##bits##_##name(volatile type *p, type v, int order)                         \
    {                                                                                              \
        return (type)ex_atomic_rmw((void *)p, bits / 8, what, v, order, PC);                       \
    }

#define CAS(bits, type, name)                                                                      \
    int __tsan_atomic##bits##_##name(volatile type *p, type *expected, type v, int order,          \
                                     int failed);                                                  \
    int __tsan_atomic##bits##_##name(volatile type *p, type *expected, type v, int order,          \
                                     int failed)                                                   \
    {                                                                                              \
        uint64_t seen = *expected;                                                                 \
        bool done = ex_atomic_cas((void *)p, bits / 8, &seen, v, order, failed, PC);               \
        *expected = (type)seen;                                                                    \
        return done;                                                                               \
    }

/* The form that clang calls: returns the value that was there. */
#define CAS_VAL(bits, type)                                                                        \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type expected, type v,       \
                                                    int order, int failed);                        \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *p, type expected, type v,       \
                                                    int order, int failed)                         \
    {                                                                                              \
        uint64_t seen = expected;                                                                  \
        (void)ex_atomic_cas((void *)p, bits / 8, &seen, v, order, failed, PC);                     \
        return (type)seen;                                                                         \
    }

#define ATOMIC(bits, type)                                                                         \
    type __tsan_atomic##bits##_load(const volatile type *p, int order);                            \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)                             \
    {                                                                                              \
        return (type)ex_atomic_load((void *)(uintptr_t)p, bits / 8, order, PC);                    \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *p, type v, int order);                         \
    void __tsan_atomic##bits##_store(volatile type *p, type v, int order)                          \
    {                                                                                              \
        ex_atomic_store((void *)(uintptr_t)p, bits / 8, v, order, PC);                             \
    }                                                                                              \
    RMW(bits, type, exchange, EX_EXCHANGE)                                                         \
    RMW(bits, type, fetch_add, EX_ADD)                                                             \
    RMW(bits, type, fetch_sub, EX_SUB)                                                             \
    RMW(bits, type, fetch_and, EX_AND)                                                             \
    RMW(bits, type, fetch_or, EX_OR)                                                               \
    RMW(bits, type, fetch_xor, EX_XOR)                                                             \
    RMW(bits, type, fetch_nand, EX_NAND)                                                           \
    CAS(bits, type, compare_exchange_strong)                                                       \
    CAS(bits, type, compare_exchange_weak)                                                         \
    CAS_VAL(bits, type)

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

/* The library uses no fences: ThreadSanitizer does not support them either. */
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    ex_fail("a fence (order %d): neither the explorer nor ThreadSanitizer knows them", order);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}
