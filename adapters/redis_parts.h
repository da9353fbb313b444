/* SPDX-License-Identifier: MIT
 *
 * The parts of the Redis adapter: what a key stands for (redis_url.c), what is said to a server
 * (redis_talk.c), how a connection lives (redis.c).
 */
#ifndef KP_ADAPTERS_REDIS_PARTS_H
#define KP_ADAPTERS_REDIS_PARTS_H

#include "keyedpool_redis.h"

#include "dial.h"

/* What a key stands for. */
struct kp__redis_target {
    struct kp__place place;
    int32_t          db;
    char             user[256], password[2048];
};

/* A connection. The context comes first: kp_redis reads it. */
struct kp__redis {
    redisContext *c;
    bool          has_reset;            /* the server knows RESET */
    struct kp__redis_target to;
};

/* Read "redis://...", "host:port" or "/path" over what `to` has from the options. NULL, or what is
 * wrong with it. */
const char *kp__redis_url_read(const char *text, size_t size, struct kp__redis_target *to);

/* All of these answer as a driver does: 0, or negative with the reason told to the job. */

int kp__redis_fail(kp_job *job, int code, const char *sentence);

/* A new connection, or one that came back: RESET, AUTH, SELECT, CLIENT SETNAME, on_open. `left` is
 * how many replies came that nobody had read. */
int kp__redis_greet(kp_job *job, struct kp__redis *r, bool new, int64_t until_ms, int64_t *left);

/* Does it answer, and to what it was asked? */
int kp__redis_ping(kp_job *job, struct kp__redis *r, int64_t until_ms);

/* Of each read and write from now on; 0: none. */
void kp__redis_timeout(struct kp__redis *r, int64_t ms);

#endif
