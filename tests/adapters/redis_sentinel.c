/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter on a Sentinel: a server that has no databases, and knows neither RESET nor most
 * of what is said instead.
 */
#include "adapters/redis_stage.h"

#include <sys/stat.h>

static void a_server_without_databases_must_keep_its_connections(void **state)
{
    kp_lease lease;

    (void)state;
    open_pool((kp_redis_options){ .password = "", .client_name = "home" });
    for (int i = 0; i < 3; i++) {
        lease = get(redis.place);
        assert_int_equal(reused(&lease), i > 0);
        must_say(&lease, "PONG", "PING");
        must_say(&lease, "subscribe", "SUBSCRIBE +switch-master");
        kp_release(&lease);
    }
    assert_int_equal(kp_redis_counts_read(&stage.counts).spoiled, 0);
    close_pool();
    open_pool((kp_redis_options){ .password = "", .db = 1 });
    assert_int_equal(try_get(redis.place, 10000, &lease), KP_ECREATE);
    expect_text("SELECT");
    close_pool();
}

static int start_sentinel(void **state)
{
    char *argv[] = { "redis-server", redis.path, "--sentinel", NULL };
    FILE *settings;

    (void)state;
    if (server_folder(&redis.server) != 0)
        return -1;
    redis.port = server_free_port();
    (void)snprintf(redis.place, sizeof redis.place, "127.0.0.1:%d", redis.port);
    (void)snprintf(redis.path, sizeof redis.path, "%s/settings", redis.server.folder);
    settings = fopen(redis.path, "w");
    if (!settings || fprintf(settings, "port %d\nbind 127.0.0.1\n", redis.port) < 0 ||
        fclose(settings) != 0 || chmod(redis.path, 0666) != 0 ||    /* it writes it anew */
        server_start(&redis.server, argv) != 0)
        return -1;
    return server_await(&redis.server, "Sentinel ID is", 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_without_databases_must_keep_its_connections),
    };

    return cmocka_run_group_tests_name("redis_sentinel", tests, start_sentinel, stop_server);
}
