/* SPDX-License-Identifier: MIT
 *
 * The parts of the Redis adapter: what a key stands for (redis_url.c), what is said to a server
 * (redis_talk.c), how a connection lives (redis.c), and its options (redis_open.c).
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

/* redis.c's table. Its ctx is a copy of the options with strings of its own. */
kp_driver kp__redis_driver(kp_redis_options *o);

/* ---- talking --------------------------------------------------------------------------------- */

/* Something is said, and the replies are heard: one machine, that never waits. There is room for
 * the longest greeting. */
struct kp__redis_talk {
    kp_job           *job;
    struct kp__redis *r;
    bool    new, only_ping, heard_word;
    int     before, after;              /* replies of ours: before the word, still to come after */
    int64_t heard;                      /* all that came before the word */
    char    word[64];
    size_t  size, sent;
    char    text[4096];
};

/* Say it: to a new connection, or one that came back, RESET, AUTH, SELECT, CLIENT SETNAME; or ask
 * whether it answers, and to what it was asked. Returns what to poll its socket for. */
int kp__redis_greet(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r, bool new);
int kp__redis_ping(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r);

/* Go on when that is there. Returns what to poll for, or 0: it is over, *status is as a driver's
 * answer. */
int kp__redis_hear(struct kp__redis_talk *t, int ready, int *status);

/* Each is the answer of the job, negative, and its reason. */
int kp__redis_fail(kp_job *job, int code, const char *sentence);
int kp__redis_fail_broken(kp_job *job, const struct kp__redis *r);     /* at once: by errno */
int kp__redis_fail_late(kp_job *job, const struct kp__redis *r);
int kp__redis_fail_memory(kp_job *job);                                 /* to wait */
int kp__redis_fail_unwanted(kp_job *job);

/* Of each read and write from now on; 0: none. */
void kp__redis_timeout(struct kp__redis *r, int64_t ms);

#endif
