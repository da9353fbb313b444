// SPDX-License-Identifier: MIT
//
// The same for C++: what keyedpool.hpp must let through, and what it must refuse to compile. Only
// compiled, once for each KP_CASE, by typed_must_not_compile.sh; case 0 is right.
#include "keyedpool.hpp"

struct padded { char a; int b; };
struct tight { int a, b; };
struct connection { int fd; };
struct channel { int fd; };

int query(connection &);

static_assert(kp::ms(std::chrono::seconds(2)) == 2000 && kp::ms(std::chrono::microseconds(1)) == 1);
static_assert(kp::ms(std::chrono::seconds(-2)) == KP_NONE);
static_assert(kp::ms(std::chrono::hours::min() + std::chrono::hours(1)) == KP_NONE);
static_assert(kp::ms(std::chrono::seconds::max()) > 0, "ms have no room for it");
static_assert(kp::ms(std::chrono::duration<double>(1e300)) > 0);

kp::lease<connection> borrow(kp::pool<connection> &pool)
{
#if KP_CASE == 1        // a key with padding
    return pool.get(padded{ 'a', 1 });
#elif KP_CASE == 2      // a key that is a pointer
    static int number;
    return pool.get(&number);
#elif KP_CASE == 3      // a lease of another resource
    kp::pool<channel> other;
    return other.get("db1");
#elif KP_CASE == 4      // a lease is not copied
    kp::lease<connection> lease = pool.get("db1");
    kp::lease<connection> copy = lease;
    return copy;
#elif KP_CASE == 5      // a body that takes another resource
    (void)pool.use(kp::key("db1"), kp_plan{}, [](channel &) { return 0; });
    return {};
#elif KP_CASE == 6      // whether it is open now nobody knows
    pool.open(kp_options{});
    return {};
#elif KP_CASE == 7      // whether the body ran nobody knows
    pool.use(kp::key("db1"), kp_plan{}, query);
    return {};
#elif KP_CASE == 8      // whether the scope has it nobody knows
    kp::scope scope;
    scope.defer(kp_scope_end, nullptr);
    return pool.get("db1");
#elif KP_CASE == 9
    kp::scope scope;
    connection *out;
    scope.get(pool, kp::key("db1"), &out);
    return {};
#elif KP_CASE == 10     // what is in the lease is known here
    (void)pool.use("db1", kp_plan{}, [](kp_lease &) { return 0; });
    return {};
#else
    (void)pool.use(kp::key("db1"), kp_plan{}, [](connection &) { return 0; });
    (void)pool.use(kp::key("db1"), kp_plan{}, query);
    (void)pool.get(tight{ 1, 2 });
    kp::pool<void> opaque;              // CURL is void, and others are
    (void)opaque.get("db1").get();
    (void)opaque.use("db1", kp_plan{}, [](kp_lease &) { return 0; });
    kp::pool<connection> adopted(static_cast<kp_pool *>(nullptr));      // as an adapter opens it
    (void)adopted.get("db1");
    return pool.get("db1");
#endif
}
