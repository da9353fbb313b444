/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter: a driver whose resources are hiredis contexts. Connecting is dial.c's and not
 * hiredis', which has a timeout for each address, and none for names.
 */
#include "redis_parts.h"

#include "fill.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_DEFAULT_MS 1000

kp_redis_counts kp_redis_counts_read(const kp_redis_counts *counts)
{
    kp_redis_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int refuse(kp_job *job, const char *sentence)
{
    (void)kp__redis_fail(job, EINVAL, sentence);
    return KP_EREFUSED;
}

static void borrowers_timeout(const kp_redis_options *o, struct kp__redis *r)
{
    int64_t ms = o->command_timeout_ms;

    kp__redis_timeout(r, ms == KP_OFF ? 0 : ms);
}

/* NULL, or what is wrong with the key. */
static const char *find_target(const kp_redis_options *o, const kp_job *job,
                               struct kp__redis_target *to)
{
    const char *text = job->key.data;
    size_t size = job->key.size;
    char buf[4096] = "";

    memset(to, 0, sizeof *to);
    to->db = o->db;
    (void)snprintf(to->user, sizeof to->user, "%s", o->user ? o->user : "");
    (void)snprintf(to->password, sizeof to->password, "%s", o->password ? o->password : "");
    if (o->where) {
        if (o->where(job->key, buf, sizeof buf, o->ctx) < 0)
            return "options.where does not know this key";
        text = buf;
        size = strnlen(buf, sizeof buf - 1);
    }
    return kp__redis_url_read(text, size, to);
}

static int64_t at_most(int64_t most_ms, int64_t ms)
{
    return most_ms > 0 && most_ms < ms ? most_ms : ms;
}

static int64_t check_until(const kp_job *job)
{
    const kp_redis_options *o = job->ctx;
    int64_t ms = o->check_timeout_ms;

    return kp__until_ms(at_most(ms ? ms : CHECK_DEFAULT_MS, job->left_ms));
}

/* A connected context, or NULL and why not. */
static redisContext *dial(kp_job *job, const struct kp__redis_target *to, int64_t until_ms)
{
    struct kp__fault fault;
    redisContext *c;
    int fd = kp__dial(&to->place, kp__left_ms(until_ms), &fault);

    if (fd < 0) {
        (void)kp__redis_fail(job, fault.code, fault.text);
        return NULL;
    }
    if (!*to->place.path)
        (void)kp__tcp_set(fd, true, 60, 10, 3);
    c = redisConnectFd(fd);
    if (!c || c->err) {
        if (c)
            redisFree(c);
        else
            (void)close(fd);
        (void)kp__redis_fail(job, ENOMEM, "out of memory for a hiredis context");
        return NULL;
    }
    return c;
}

static int create(kp_job *job, void **resource)
{
    const kp_redis_options *o = job->ctx;
    int64_t until_ms = kp__until_ms(at_most(o->connect_timeout_ms, job->left_ms)), left;
    struct kp__redis *r = malloc(sizeof *r);
    const char *wrong;
    int rc;

    if (!r)
        return KP_ENOMEM;
    wrong = find_target(o, job, &r->to);
    if (wrong) {
        free(r);
        return refuse(job, wrong);
    }
    r->has_reset = true;
    r->c = dial(job, &r->to, until_ms);
    if (!r->c) {
        free(r);
        return KP_ECREATE;
    }
    rc = kp__redis_greet(job, r, true, until_ms, &left);
    if (rc) {
        redisFree(r->c);
        free(r);
        return rc;
    }
    borrowers_timeout(o, r);
    if (o->counts)
        kp__count(&o->counts->opened, 1);
    *resource = r;
    return 0;
}

/* What the kernel, or a context that failed in a borrower's hands, says of its server. */
static int fail_as_left(kp_job *job, int code, const char *sentence, bool gone)
{
    int rc = kp__redis_fail(job, code, sentence);

    return gone ? KP_EGONE : rc;
}

/* Commands that were appended and not sent must not be, replies that are half parsed cannot be told
 * from whole ones. */
static int look(kp_job *job, struct kp__redis *r, kp_redis_leftover *what)
{
    const kp_redis_options *o = job->ctx;
    const redisReader *reader = r->c->reader;
    int rc;

    if (r->c->err)
        return fail_as_left(job, EPROTO, r->c->errstr, r->c->err == REDIS_ERR_EOF ||
                            kp__is_gone(-kp__stirred(r->c->fd)));
    what->unsent = r->c->obuf && r->c->obuf[0];
    if (what->unsent)
        return kp__redis_fail(job, EPROTO, "given back with commands that were not sent");
    if (o->tidy != KP_REDIS_LOOK)
        return 0;
    rc = reader->pos < reader->len || reader->ridx >= 0 ? 1 : kp__stirred(r->c->fd);
    what->replies = rc > 0;
    return rc > 0 ? kp__redis_fail(job, EPROTO, "given back with replies unread")
           : rc < 0 ? fail_as_left(job, -rc, strerror(-rc), kp__is_gone(-rc)) : 0;
}

static int reset(kp_job *job, void *resource)
{
    const kp_redis_options *o = job->ctx;
    kp_redis_leftover what = { .key = job->key, .tag = job->tag };
    struct kp__redis *r = resource;
    int rc = look(job, r, &what);

    if (rc == 0 && o->tidy != KP_REDIS_LOOK)
        rc = kp__redis_greet(job, r, false, check_until(job), &what.replies);
    if (rc == 0)
        borrowers_timeout(o, r);
    what.closed = rc != 0;
    if (o->counts) {
        kp__count(&o->counts->replies, (uint64_t)what.replies);
        kp__count(&o->counts->spoiled, what.closed);
    }
    if (o->on_leftover && (what.replies || what.unsent))
        o->on_leftover(&what, o->ctx);
    return rc;
}

static int validate(kp_job *job, void *resource)
{
    struct kp__redis *r = resource;
    int rc = kp__redis_ping(job, r, check_until(job));

    if (rc == 0)
        borrowers_timeout(job->ctx, r);
    return rc;
}

static int destroy(kp_job *job, void *resource)
{
    const kp_redis_options *o = job->ctx;
    struct kp__redis *r = resource;

    redisFree(r->c);
    free(r);
    if (o->counts)
        kp__count(&o->counts->closed, 1);
    return 0;
}

/* The context stays as it is: its borrower may have been in the middle of changing it. */
static int abandon(kp_job *job, void *resource)
{
    const struct kp__redis *r = resource;

    (void)job;
    (void)close(r->c->fd);
    return 0;
}

static int descriptor(void *resource, void *ctx)
{
    (void)ctx;
    return ((const struct kp__redis *)resource)->c->fd;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void drop(void *ctx)
{
    kp_redis_options *o = ctx;

    kp__disown(&o->user);
    kp__disown(&o->password);
    kp__disown(&o->client_name);
    free(o);
}

static kp_redis_options *copy(const kp_redis_options *redis)
{
    kp_redis_options *o = malloc(sizeof *o);

    if (!o)
        return NULL;
    *o = *redis;
    if (kp__own(&o->user) | kp__own(&o->password) | kp__own(&o->client_name)) {
        drop(o);
        return NULL;
    }
    return o;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_redis_options *o, const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!kp__is_time(o->connect_timeout_ms))
        return "redis.connect_timeout_ms";
    if (!kp__is_time(o->command_timeout_ms))
        return "redis.command_timeout_ms";
    *sentence = "it must be a time";
    if (o->check_timeout_ms < 0)
        return "redis.check_timeout_ms";
    *sentence = "it must be a number of a database, 0 or more";
    if (o->db < 0)
        return "redis.db";
    *sentence = "it must be KP_REDIS_RESET or KP_REDIS_LOOK";
    if (o->tidy < 0 || o->tidy > KP_REDIS_LOOK)
        return "redis.tidy";
    *sentence = "a user needs a password";
    if (o->user && *o->user && !(o->password && *o->password))
        return "redis.password";
    *sentence = "it is too long";
    if (o->client_name && strlen(o->client_name) > 128)
        return "redis.client_name";
    if (o->user && strlen(o->user) >= sizeof((struct kp__redis_target *)0)->user)
        return "redis.user";
    if (o->password && strlen(o->password) >= sizeof((struct kp__redis_target *)0)->password)
        return "redis.password";
    return NULL;
}

int kp_redis_fill(const kp_redis_options *redis, kp_options *options)
{
    static const kp_redis_options defaults;
    kp_redis_options *o;
    const char *field, *sentence;

    if (!redis)
        redis = &defaults;
    field = impossible(redis, &sentence);
    if (field)
        return kp__fill_refused(options, field, sentence);
    o = copy(redis);
    if (!o)
        return KP_ENOMEM;
    options->driver = (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .abandon = abandon, .ctx = o, .drop_ctx = drop, .fd = KP__HAS_FD ? descriptor : NULL,
    };
    return 0;
}

int kp_redis_open(const kp_redis_options *redis, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_redis_fill(redis, &options);

    return kp__open_filled(rc, &options, out);
}
