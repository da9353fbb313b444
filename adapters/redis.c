/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter: a driver whose resources are hiredis contexts. Connecting is dial.c's and not
 * hiredis', which has a timeout for each address, and none for names.
 */
#include "redis_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_DEFAULT_MS 1000

static void count(uint64_t *counter, uint64_t more)
{
    (void)__atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

kp_redis_counts kp_redis_counts_read(const kp_redis_counts *counts)
{
    kp_redis_counts out;

    out.opened = __atomic_load_n(&counts->opened, __ATOMIC_RELAXED);
    out.closed = __atomic_load_n(&counts->closed, __ATOMIC_RELAXED);
    out.replies = __atomic_load_n(&counts->replies, __ATOMIC_RELAXED);
    out.spoiled = __atomic_load_n(&counts->spoiled, __ATOMIC_RELAXED);
    return out;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int refuse(kp_job *job, const char *sentence)
{
    (void)kp__redis_fail(job, EINVAL, sentence);
    return KP_EREFUSED;
}

static void borrowers_timeout(const struct kp__redis_context *c, struct kp__redis *r)
{
    int64_t ms = c->options.command_timeout_ms;

    kp__redis_timeout(r, ms == KP_OFF ? 0 : ms);
}

/* NULL, or what is wrong with the key. */
static const char *find_target(const struct kp__redis_context *c, const kp_job *job,
                               struct kp__redis_target *to)
{
    const char *text = job->key.data;
    size_t size = job->key.size;
    char buf[4096] = "";

    memset(to, 0, sizeof *to);
    to->db = c->options.db;
    (void)snprintf(to->user, sizeof to->user, "%s", c->user ? c->user : "");
    (void)snprintf(to->password, sizeof to->password, "%s", c->password ? c->password : "");
    if (c->options.where) {
        if (c->options.where(job->key, buf, sizeof buf, c->options.ctx) < 0)
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
    const struct kp__redis_context *c = job->ctx;
    int64_t ms = c->options.check_timeout_ms;

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
    const struct kp__redis_context *c = job->ctx;
    int64_t until_ms = kp__until_ms(at_most(c->options.connect_timeout_ms, job->left_ms)), left;
    struct kp__redis *r = malloc(sizeof *r);
    const char *wrong;
    int rc;

    if (!r)
        return KP_ENOMEM;
    wrong = find_target(c, job, &r->to);
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
    borrowers_timeout(c, r);
    if (c->options.counts)
        count(&c->options.counts->opened, 1);
    *resource = r;
    return 0;
}

/* Commands that were appended and not sent must not be, replies that are half parsed cannot be told
 * from whole ones. */
static int look(kp_job *job, struct kp__redis *r, kp_redis_leftover *what)
{
    const struct kp__redis_context *c = job->ctx;
    const redisReader *reader = r->c->reader;
    int rc;

    if (r->c->err)
        return kp__redis_fail(job, EPROTO, r->c->errstr);
    what->unsent = r->c->obuf && r->c->obuf[0];
    if (what->unsent)
        return kp__redis_fail(job, EPROTO, "given back with commands that were not sent");
    if (c->options.tidy != KP_REDIS_LOOK)
        return 0;
    rc = reader->pos < reader->len || reader->ridx >= 0 ? 1 : kp__stirred(r->c->fd);
    what->replies = rc > 0;
    return rc > 0 ? kp__redis_fail(job, EPROTO, "given back with replies unread")
           : rc < 0 ? kp__redis_fail(job, -rc, strerror(-rc)) : 0;
}

static int reset(kp_job *job, void *resource)
{
    const struct kp__redis_context *c = job->ctx;
    kp_redis_leftover what = { .key = job->key, .tag = job->tag };
    struct kp__redis *r = resource;
    int rc = look(job, r, &what);

    if (rc == 0 && c->options.tidy != KP_REDIS_LOOK)
        rc = kp__redis_greet(job, r, false, check_until(job), &what.replies);
    if (rc == 0)
        borrowers_timeout(c, r);
    what.closed = rc != 0;
    if (c->options.counts) {
        count(&c->options.counts->replies, (uint64_t)what.replies);
        count(&c->options.counts->spoiled, what.closed);
    }
    if (c->options.on_leftover && (what.replies || what.unsent))
        c->options.on_leftover(&what, c->options.ctx);
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
    const struct kp__redis_context *c = job->ctx;
    struct kp__redis *r = resource;

    redisFree(r->c);
    free(r);
    if (c->options.counts)
        count(&c->options.counts->closed, 1);
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

/* ---- opening --------------------------------------------------------------------------------- */

static void drop(void *ctx)
{
    struct kp__redis_context *c = ctx;

    free(c->user);
    free(c->password);
    free(c->client_name);
    free(c);
}

static int copy_string(const char *from, char **to)
{
    if (from && *from && !(*to = strdup(from)))
        return KP_ENOMEM;
    return 0;
}

static struct kp__redis_context *context_make(const kp_redis_options *redis)
{
    struct kp__redis_context *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->options = *redis;
    if (copy_string(redis->user, &c->user) || copy_string(redis->password, &c->password) ||
        copy_string(redis->client_name, &c->client_name)) {
        drop(c);
        return NULL;
    }
    return c;
}

static bool is_time(int64_t ms)
{
    return ms >= 0 || ms == KP_OFF;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_redis_options *o, const char **sentence)
{
    *sentence = "it must be a time, or KP_OFF";
    if (!is_time(o->connect_timeout_ms))
        return "redis.connect_timeout_ms";
    if (!is_time(o->command_timeout_ms))
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
    struct kp__redis_context *c;
    const char *field, *sentence;

    if (!redis)
        redis = &defaults;
    field = impossible(redis, &sentence);
    if (field) {
        if (options->why) {
            memset(options->why, 0, sizeof *options->why);
            options->why->code = KP_ECONFIG;
            (void)snprintf(options->why->field, sizeof options->why->field, "%s", field);
            (void)snprintf(options->why->text, sizeof options->why->text, "%s: %s", field,
                           sentence);
        }
        return KP_ECONFIG;
    }
    c = context_make(redis);
    if (!c)
        return KP_ENOMEM;
    memset(&options->driver, 0, sizeof options->driver);
    options->driver.create = create;
    options->driver.destroy = destroy;
    options->driver.validate = validate;
    options->driver.reset = reset;
    options->driver.abandon = abandon;
    options->driver.ctx = c;
    options->driver.drop_ctx = drop;
    return 0;
}

int kp_redis_open(const kp_redis_options *redis, const kp_options *more, kp_pool **out)
{
    kp_options options = { 0 };
    int rc;

    *out = NULL;
    if (more)
        options = *more;
    rc = kp_redis_fill(redis, &options);
    if (rc)
        return rc;
    rc = kp_pool_open(&options, out);
    if (rc)
        options.driver.drop_ctx(options.driver.ctx);
    return rc;
}
