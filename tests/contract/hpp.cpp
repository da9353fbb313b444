// SPDX-License-Identifier: MIT
//
// keyedpool.hpp: what its classes add to the functions they call is when these are called. So a
// pool that was closed answers as a closed one does, and may be closed again.
#include <keyedpool.hpp>

#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>

extern "C" {
#include <cmocka.h>
}

// What a program may have beside its keys: names as common as those in kp.
namespace shop {

struct customer { std::uint64_t id; };

template <class T> kp_key key(const T &) { return kp_str("another key"); }

} // namespace shop

namespace {

int made;

int create(kp_job *, void **out)
{
    *out = &made;
    made++;
    return 0;
}

int destroy(kp_job *, void *)
{
    made--;
    return 0;
}

kp_options options()
{
    kp_options o{};
    o.driver.create = create;
    o.driver.destroy = destroy;
    return o;
}

void a_closed_pool_must_say_again_how_many_are_out(void **)
{
    kp::pool<int> pool;
    assert_int_equal(pool.open(options()), 0);
    auto lease = pool.get(kp::key("k"));
    assert_int_equal(lease.status(), 0);
    assert_int_equal(pool.close(KP_CLOSE_NOW), 1);
    assert_int_equal(pool.close(KP_CLOSE_NOW), 1);
    lease.release();
    assert_int_equal(pool.close(), 0);
    assert_int_equal(made, 0);
}

void a_get_from_a_closed_pool_must_say_closed(void **)
{
    kp::pool<int> pool;
    assert_int_equal(pool.open(options()), 0);
    assert_int_equal(pool.close(), 0);
    assert_int_equal(pool.get(kp::key("k")).status(), KP_ECLOSED);
    assert_int_equal(pool.try_get(kp::key("k")).status(), KP_ECLOSED);
}

void a_pool_that_ends_must_be_closed_unless_it_was(void **)
{
    kp_pool *bare = nullptr;
    kp::lease<int> lease;
    {
        kp::pool<int> pool, moved;
        assert_int_equal(pool.open(options()), 0);
        bare = pool.raw();
        moved = std::move(pool);
        assert_true(kp_is_pool(bare));
    }
    assert_false(kp_is_pool(bare));
    {
        kp::pool<int> pool;
        assert_int_equal(pool.open(options()), 0);
        lease = pool.get(kp::key("k"));
        assert_int_equal(pool.close(KP_CLOSE_NOW), 1);
    } // and does not wait for the lease here
    lease.release();
    assert_int_equal(made, 0);
}

void a_pool_that_was_closed_must_be_open_after_open(void **)
{
    kp::pool<int> pool;
    assert_int_equal(pool.close(), 0); // there is none yet
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pool.open(options()), 0);
        assert_int_equal(pool.get(kp::key("k")).status(), 0);
        if (i == 0) assert_int_equal(pool.close(), 0);
    }
    assert_true(kp_is_pool(pool.raw()));
}

// As the adapters' functions take it: kp_http_start, kp_socket_fd, ...
void the_bare_lease_must_be_there_to_be_handed_on(void **)
{
    kp::pool<int> pool;
    kp_lease_about about{};
    assert_int_equal(pool.open(options()), 0);
    auto lease = pool.get(kp::key("k"));
    assert_ptr_equal(lease.raw()->resource, lease.get());
    assert_true(kp_lease_read(lease.raw(), &about));
    assert_int_equal(about.serial, 1);
    lease.release();
    assert_false(kp_lease_read(lease.raw(), &about));
    assert_int_equal(pool.close(), 0);
}

void a_key_of_fields_must_print_its_numbers_as_c_does(void **)
{
    struct peer {
        std::uint16_t port;
        std::int16_t  delta;
        std::uint64_t id;
        char          mark[2];
    };
    static const kp_field fields[] = { KP_INT(peer, port), KP_INT(peer, delta), KP_INT(peer, id),
                                       KP_TEXT(peer, mark), KP_END };
    const peer p{ 36231, -5, UINT64_MAX, "x" };
    kp_options o = options();
    o.key_type.size = sizeof p;
    o.key_type.fields = fields;
    kp::pool<int> pool;
    char text[80];

    assert_int_equal(pool.open(o), 0);
    kp_key_text(pool.raw(), KP_KEY(&p), text, sizeof text);
    assert_string_equal(text, "port=36231,delta=-5,id=18446744073709551615,mark=x");
}

void a_function_called_key_beside_a_key_type_must_not_be_asked(void **)
{
    const shop::customer customer{ 7 };
    kp::pool<int> pool;
    kp_stats stats;

    assert_int_equal(pool.open(options()), 0);
    assert_int_equal(pool.get(customer).status(), 0);
    assert_int_equal(kp_stats_read(pool.raw(), kp::key(customer), &stats), 0);
    assert_int_equal(stats.gets, 1);
}

int double_it(int &number)
{
    number *= 2;
    return 0;
}

// By text, by a struct and by a kp_key it is the same key.
void every_call_must_take_the_keys_that_get_takes(void **)
{
    const shop::customer who{ 7 };
    kp::pool<int> pool;
    kp::scope scope;
    int *number = nullptr, seen = 0;

    assert_int_equal(pool.open(options()), 0);
    assert_true(bool(pool.get("eu")));
    assert_true(bool(pool.try_get("eu")));
    assert_true(bool(pool.try_get(kp::key("eu"))));
    assert_int_equal(pool.try_get(who).status(), KP_EAGAIN);
    assert_int_equal(scope.get(pool, "eu", &number), 0);
    assert_ptr_equal(number, &made);
    scope.close();
    assert_int_equal(pool.use("eu", kp_plan{}, [&](int &n) { seen = n; return 0; }), 0);
    assert_int_equal(seen, 1);
    assert_int_equal(pool.use(who, kp_plan{}, double_it), 0);
    assert_int_equal(made, 4); // two of them, doubled
    made = 2;
    assert_true(bool(pool.try_get(who)));
    assert_int_equal(pool.close(), 0);
    assert_int_equal(made, 0);
}

// As an adapter's is, whose resources only its own functions can look into.
void the_body_of_a_use_must_get_the_lease_where_the_resource_has_no_type(void **)
{
    kp::pool<void> pool;
    void *seen = nullptr;
    const auto look = [&](kp_lease &lease) { seen = lease.resource; return -7; };

    assert_int_equal(pool.open(options()), 0);
    assert_int_equal(pool.use("eu", kp_plan{}, look), -7);
    assert_ptr_equal(seen, &made);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_pool_must_say_again_how_many_are_out),
        cmocka_unit_test(a_get_from_a_closed_pool_must_say_closed),
        cmocka_unit_test(a_pool_that_ends_must_be_closed_unless_it_was),
        cmocka_unit_test(a_pool_that_was_closed_must_be_open_after_open),
        cmocka_unit_test(the_bare_lease_must_be_there_to_be_handed_on),
        cmocka_unit_test(a_key_of_fields_must_print_its_numbers_as_c_does),
        cmocka_unit_test(a_function_called_key_beside_a_key_type_must_not_be_asked),
        cmocka_unit_test(every_call_must_take_the_keys_that_get_takes),
        cmocka_unit_test(the_body_of_a_use_must_get_the_lease_where_the_resource_has_no_type),
    };

    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
