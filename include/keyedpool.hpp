// SPDX-License-Identifier: MIT
//
// keyedpool for C++17: leases, scopes and pools that end by themselves, a typed resource, keys that
// cannot carry padding. A header only, over keyedpool.h; nothing here throws and no RTTI is needed,
// so that it also builds with -fno-exceptions -fno-rtti. Contracts are those of the functions it
// calls: a get() is kp_get(), and so on.
#ifndef KEYEDPOOL_HPP
#define KEYEDPOOL_HPP

#if __cplusplus < 201703L
#  error "keyedpool.hpp is C++17; before, include keyedpool.h"
#endif

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ratio>
#include <string_view>
#include <type_traits>
#include <utility>

#include "keyedpool.h"

namespace kp {

// ---- keys and times ---------------------------------------------------------------------------

inline kp_key key(std::string_view text) noexcept
{
    return kp_bytes(text.data(), text.size());
}

// A struct or a number as bytes. A type with padding, or a pointer, does not compile, since equal
// values would be different keys: give the pool a key_type with fields, and use KP_KEY. Do so for a
// struct with a pointer in it (a std::span, a std::wstring_view), too: C++ cannot tell it from one
// with numbers, so it compiles, and its keys are compared by address.
template <class K, class = std::enable_if_t<!std::is_convertible_v<const K &, std::string_view> &&
                                            !std::is_same_v<K, kp_key>>>
kp_key key(const K &value) noexcept
{
    static_assert(std::has_unique_object_representations_v<K> && !std::is_pointer_v<K>,
                  "this key has padding or pointers: give the pool a key_type and use KP_KEY");
    return kp_bytes(std::addressof(value), sizeof value);
}

// Zero or less here means "do not wait" (KP_NONE), not the default. What is too long to be told in
// ms (hours::max()) is the longest time that can be told.
template <class Rep, class Period>
constexpr std::int64_t ms(std::chrono::duration<Rep, Period> time) noexcept
{
    if (!(time > time.zero()))
        return KP_NONE;
    if (std::chrono::duration<double, std::milli>(time).count() >= 9e18)
        return INT64_MAX;
    return static_cast<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(time).count());
}

// What a get may say beyond its key: kp::ask(2s), kp::ask(2s, &why, "who asks").
struct ask : kp_ask {
    ask() noexcept : kp_ask{} {}

    template <class Rep, class Period>
    explicit ask(std::chrono::duration<Rep, Period> within, kp_why *why_not = nullptr,
                 const char *who = nullptr) noexcept : kp_ask{}
    {
        within_ms = kp::ms(within);
        why = why_not;
        tag = who;
    }
};

// ---- leases -----------------------------------------------------------------------------------

// The right to an R: moved, never copied, given back at the end of its life, also where an
// exception ends that. What may throw in the middle of an exchange with the peer, and has no reset
// that puts it right, needs a handler that calls discard(). False if the get failed; status() says
// how.
template <class R>
class [[nodiscard]] lease {
public:
    lease() noexcept = default;
    lease(kp_lease taken, int status) noexcept : lease_(taken), status_(status) {}
    lease(lease &&from) noexcept
        : lease_(std::exchange(from.lease_, kp_lease{})),
          status_(std::exchange(from.status_, ended)) {}

    lease &operator=(lease &&from) noexcept
    {
        if (this != &from) {
            release();
            lease_ = std::exchange(from.lease_, kp_lease{});
            status_ = std::exchange(from.status_, ended);
        }
        return *this;
    }

    lease(const lease &) = delete;
    lease &operator=(const lease &) = delete;
    ~lease() { release(); }

    explicit operator bool() const noexcept { return lease_.resource != nullptr; }
    int  status() const noexcept { return status_; }
    R   *get() const noexcept { return static_cast<R *>(lease_.resource); }
    R   *operator->() const noexcept { return get(); }
    std::add_lvalue_reference_t<R> operator*() const noexcept { return *get(); }

    // Give it back; give it back and have it destroyed. Once is enough: a second call does nothing.
    void release() noexcept { end(kp_release); }
    void discard() noexcept { end(kp_discard); }

    // What the give-back will do with the resource, and how its use went (for the breaker).
    void reuse(bool yes) noexcept { kp_lease_reuse(&lease_, yes); }
    void report(int result) noexcept { kp_lease_report(&lease_, result); }
    bool read(kp_lease_about &about) const noexcept { return kp_lease_read(&lease_, &about); }

    // The bare lease, for functions that take one and do not end it (kp_http_start, kp_socket_fd).
    const kp_lease *raw() const noexcept { return &lease_; }

    // The bare lease, which is yours to end from now on.
    kp_lease detach() noexcept
    {
        status_ = ended;
        return std::exchange(lease_, kp_lease{});
    }

private:
    static constexpr int ended = KP_ENOTFOUND;

    void end(void (*how)(kp_lease *)) noexcept
    {
        if (lease_.resource)
            how(&lease_);
        lease_ = kp_lease{};
        status_ = ended;
    }

    kp_lease lease_{};
    int      status_ = ended;
};

// ---- pools ------------------------------------------------------------------------------------

// A pool that is closed at the end of its life; the close waits for leases, 30 s at most. On the
// thread of an event loop it does not wait: there, call close() and go on with the loop, until the
// answer is 0, before the pool's life ends.
template <class R>
class pool {
public:
    pool() noexcept = default;
    // A pool that kp_pg_open or the like has opened. Its resources are the adapter's own structs:
    // let R be void, and ask the adapter for what is in them: kp_pg_conn(lease.raw()).
    explicit pool(kp_pool *opened) noexcept : pool_(opened) {}
    pool(pool &&) noexcept = default;
    pool &operator=(pool &&) noexcept = default;

    [[nodiscard]] int open(const kp_options &options) noexcept
    {
        kp_pool  *opened = nullptr;
        const int rc = kp_pool_open(&options, &opened);
        if (rc == 0)
            pool_ = owned(opened);
        return rc;
    }

    // Returns how many are still out, as kp_pool_close does, and may be called again. After it the
    // end of its life closes nothing more.
    std::int64_t close(kp_close_mode mode = KP_CLOSE_WAIT, std::int64_t within_ms = 0) noexcept
    {
        pool_.get_deleter().closed = true;
        return pool_ ? kp_pool_close(pool_.get(), mode, within_ms) : 0;
    }

    lease<R> get(kp_key k, const kp_ask &how = ask{}) noexcept
    {
        kp_lease  taken{};
        const int rc = kp_get(pool_.get(), k, &how, &taken);
        return lease<R>(taken, rc);
    }

    template <class K, class = std::enable_if_t<!std::is_same_v<K, kp_key>>>
    lease<R> get(const K &k, const kp_ask &how = ask{}) noexcept
    {
        return get(kp::key(k), how);
    }

    lease<R> try_get(kp_key k) noexcept
    {
        kp_lease  taken{};
        const int rc = kp_try_get(pool_.get(), k, &taken);
        return lease<R>(taken, rc);
    }

    template <class K, class = std::enable_if_t<!std::is_same_v<K, kp_key>>>
    lease<R> try_get(const K &k) noexcept
    {
        return try_get(kp::key(k));
    }

    // f is an int(R &), or of a pool<void> an int(kp_lease &), for kp_pg_conn(&lease) and the like:
    // 0, or a negative number, which use() returns. It must not throw, and its thread must not end
    // in it (pthread_cancel, pthread_exit), as it may in kp_use: either ends the process.
    template <class F>
    [[nodiscard]] int use(kp_key k, const kp_plan &plan, F &&f) noexcept
    {
        using body_t = std::remove_reference_t<F>;
        using lent_t = std::conditional_t<std::is_void_v<R>, kp_lease, R>;
        static_assert(std::is_invocable_r_v<int, body_t &, lent_t &>,
                      "use() takes an int(R &), of a pool<void> an int(kp_lease &)");
        if constexpr (std::is_function_v<body_t>) {
            body_t *function = f;       // its address is no void *, but that of this is one
            return use(k, plan, function);
        } else {
            const kp_use_fn run = [](kp_lease *l, void *arg) -> int {
                body_t &body = *static_cast<body_t *>(arg);
                if constexpr (std::is_void_v<R>)
                    return std::invoke(body, *l);
                else
                    return std::invoke(body, *static_cast<R *>(l->resource));
            };
            void *arg = const_cast<void *>(static_cast<const void *>(std::addressof(f)));
            return kp_use(pool_.get(), k, &plan, run, arg);
        }
    }

    template <class K, class F, class = std::enable_if_t<!std::is_same_v<K, kp_key>>>
    [[nodiscard]] int use(const K &k, const kp_plan &plan, F &&f) noexcept
    {
        return use(kp::key(k), plan, std::forward<F>(f));
    }

    kp_pool *raw() const noexcept { return pool_.get(); }

private:
    struct closer {
        bool closed = false;
        void operator()(kp_pool *p) const noexcept
        {
            if (!closed)
                kp_pool_close(p, KP_CLOSE_WAIT, 0);
        }
    };
    using owned = std::unique_ptr<kp_pool, closer>;
    owned pool_{};
};

// ---- scopes -----------------------------------------------------------------------------------

// Owns its finalizers and what is borrowed through it; at the end it gives all back, last first.
class scope {
public:
    scope() noexcept = default;
    scope(const scope &) = delete;
    scope &operator=(const scope &) = delete;
    ~scope() { close(); }

    // The scope owns the lease: *out is nullptr, or the resource until the scope closes.
    template <class R>
    [[nodiscard]] int get(pool<R> &from, kp_key k, R **out, const kp_ask &how = ask{}) noexcept
    {
        kp_lease  taken{};
        const int rc = kp_scope_get(&scope_, from.raw(), k, &how, &taken);
        *out = static_cast<R *>(taken.resource);
        return rc;
    }

    template <class R, class K, class = std::enable_if_t<!std::is_same_v<K, kp_key>>>
    [[nodiscard]] int get(pool<R> &from, const K &k, R **out, const kp_ask &how = ask{}) noexcept
    {
        return get(from, kp::key(k), out, how);
    }

    [[nodiscard]] int defer(void (*fn)(void *), void *arg) noexcept
    {
        return kp_scope_defer(&scope_, fn, arg);
    }
    void close() noexcept { kp_scope_close(&scope_); }

private:
    kp_scope scope_{};
};

}  // namespace kp

#endif
