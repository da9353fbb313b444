/* SPDX-License-Identifier: MIT
 *
 * kill_redis [--rounds N] [--down-ms N] [--slack-ms N]: Redis killed in the middle of load
 * (kill.h).
 */
#include <keyedpool_redis.h>

#include "adapters/kill.h"
#include "adapters/redis_server.h"

static kp_redis_counts counted;

static int start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);     /* hiredis raises it in borrowers of a server that died */
    return redis_set_up(false);
}

static int where(kp_key key, char *text, size_t size, void *ctx)
{
    (void)key;
    (void)ctx;
    (void)snprintf(text, size, "%s", redis.place);
    return 0;
}

static int open_pool(const kp_options *more, kp_pool **out)
{
    kp_redis_options o = { .password = REDIS_SECRET, .client_name = "keyedpool",
                           .where = where, .counts = &counted };

    return kp_redis_open(&o, more, out);
}

static redisContext *context_of(void *resource)
{
    kp_lease lease = { .resource = resource };

    return kp_redis(&lease);
}

static enum kill_answer ask(void *resource, unsigned long long number)
{
    redisReply *reply = redisCommand(context_of(resource), "ECHO %llu", number);
    enum kill_answer answer = KILL_BROKEN;

    if (reply)
        answer = reply->type == REDIS_REPLY_STRING && strtoull(reply->str, NULL, 10) == number
                     ? KILL_GOOD : KILL_WRONG;
    freeReplyObject(reply);
    return answer;
}

/* A transaction, and a reply that nobody reads. */
static void leave(void *resource)
{
    redisContext *c = context_of(resource);

    (void)redisAppendCommand(c, "ECHO late");
    (void)redisAppendCommand(c, "MULTI");
    for (int done = 0; !done && redisBufferWrite(c, &done) == REDIS_OK;)
        continue;
}

static struct kill_counts counts(void)
{
    kp_redis_counts c = kp_redis_counts_read(&counted);

    return (struct kill_counts){ c.opened, c.closed };
}

static long seen(void)
{
    return redis_clients("name=keyedpool");
}

int main(int argc, char **argv)
{
    const struct kill subject = {
        .key = kp_str("the server"), .start = start, .restart = redis_start, .kill = redis_kill,
        .stop = redis_tear_down, .open = open_pool, .ask = ask, .leave = leave, .counts = counts,
        .seen = seen,
    };

    return kill_run(&subject, argc, argv);
}
