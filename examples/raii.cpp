// SPDX-License-Identifier: MIT
//
// C++17: leases that end by themselves and can only be moved, times from <chrono>, a body as a
// lambda. A key with padding would not compile.
#include <chrono>
#include <cstdio>
#include <keyedpool.hpp>
#include <new>
#include <string>
#include <type_traits>

using namespace std::chrono_literals;

struct connection {
    int queries = 0;
};

static_assert(!std::is_copy_constructible_v<kp::lease<connection>>);
static_assert(std::is_nothrow_move_constructible_v<kp::lease<connection>>);

static kp_options how_to_connect()
{
    kp_options options{};

    options.name = "raii";
    options.driver.create = [](kp_job *job, void **out) -> int {
        *out = new (std::nothrow) connection;
        return *out ? 0 : kp_job_fail(job, 12, "no memory for a connection");
    };
    options.driver.destroy = [](kp_job *, void *c) -> int {
        delete static_cast<connection *>(c);
        return 0;
    };
    options.limits.max_live = 1;
    return options;
}

// One lease at a time fits into the pool: each block below must have given back the last one.
static bool borrow_three_times(kp::pool<connection> &pool)
{
    kp_why why{};
    int    queries = 0;

    {
        auto first = pool.get(std::string("eu-west"), kp::ask(2s, &why, "first"));
        if (!first) {
            std::fprintf(stderr, "%s\n", why.text);
            return false;
        }
        first->queries++;
        auto moved = std::move(first);          // first is empty now; one release, when moved ends
        if (first || !moved)
            return false;
    }
    {
        auto second = pool.get("eu-west", kp::ask(2s));
        if (!second || second->queries != 1)    // the same one
            return false;
        second.discard();
    }
    kp_plan plan{};
    plan.schedule.times = 3;
    const int rc = pool.use("eu-west", plan, [&](connection &c) {
        queries = ++c.queries;
        return 0;
    });
    return rc == 0 && queries == 1;             // a new one
}

// A scope owns what is borrowed through it, and gives it back before it ends itself.
static bool borrow_in_a_scope(kp::pool<connection> &pool)
{
    {
        kp::scope   scope;
        connection *c = nullptr;
        if (scope.get(pool, "eu-west", &c, kp::ask(2s)) < 0 || !c)
            return false;
        if (pool.try_get("eu-west"))   // lent: there is no second one
            return false;
    }
    return static_cast<bool>(pool.try_get("eu-west"));
}

int main()
{
    kp::pool<connection> pool;

    if (pool.open(how_to_connect()) < 0)
        return 1;
    const bool ok = borrow_three_times(pool) && borrow_in_a_scope(pool);
    kp_stats   stats{};
    kp_stats_read(pool.raw(), KP_EVERY_KEY, &stats);
    std::printf("%d gets, %d connections made\n", static_cast<int>(stats.gets),
                static_cast<int>(stats.creates));
    return !(pool.close() == 0 && ok && stats.gets == 5 && stats.creates == 2);
}
