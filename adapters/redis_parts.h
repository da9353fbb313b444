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

/* The driver (redis.c). Its ctx is `o`, a copy of the options with strings of its own. */
kp_driver kp__redis_driver(kp_redis_options *o);

/* ---- talking --------------------------------------------------------------------------------- */

/* Commands are sent and their replies read: one state machine, which never waits. `text` has room
 * for the longest greeting. */
struct kp__redis_talk {
    kp_job           *job;
    struct kp__redis *r;
    bool    new, only_ping, echoes, heard_word;
    int     before, after;              /* our replies: before the word; after it, still to come */
    int64_t heard;                      /* how many came before the word in all */
    char    word[64];
    size_t  size, sent;
    char    text[4096];
};

/* Begin: greet a server on a new connection, or on one that came back (RESET, AUTH, SELECT, CLIENT
 * SETNAME); or ping it, and see that it answers just that. Returns what to poll the socket for. */
int kp__redis_greet(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r, bool new);
int kp__redis_ping(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r);

/* Go on when the socket is ready. Returns what to poll it for, or 0: it is over, and *status is the
 * driver's answer. */
int kp__redis_hear(struct kp__redis_talk *t, int ready, int *status);

/* Each sets the reason of the job and returns its answer, negative. */
int kp__redis_fail(kp_job *job, int code, const char *sentence);
int kp__redis_fail_broken(kp_job *job, const struct kp__redis *r);     /* at once: reads errno */
int kp__redis_fail_late(kp_job *job, const struct kp__redis *r);
int kp__redis_fail_unwatched(kp_job *job, int rc);
int kp__redis_fail_unwanted(kp_job *job);

/* The timeout of each read and write from now on; 0: none. */
void kp__redis_timeout(struct kp__redis *r, int64_t ms);

#endif
