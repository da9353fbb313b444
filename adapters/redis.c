/* SPDX-License-Identifier: MIT
 *
 * The Redis adapter: a driver whose resources are hiredis contexts. dial.c connects them, for
 * hiredis has a timeout for each address, and none for names.
 *
 * Connecting and talking are state machines that never wait. work.h waits for them: with poll, or
 * through a watcher.
 */
#include "redis_parts.h"

#include "fill.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/sds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK_DEFAULT_MS 1000

/* One job under way. */
struct work {
    struct kp__work     run;            /* first */
    struct kp__redis   *r;
    const kp_redis_options *o;
    bool                dialing;
    struct kp__dial     dial;
    struct kp__redis_talk talk;
    kp_redis_leftover   what;           /* reset: what the borrower left */
};

static int refuse(kp_job *job, const char *sentence)
{
    (void)kp__redis_fail(job, EINVAL, sentence);
    return KP_EREFUSED;
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
        buf[sizeof buf - 1] = '\0';
        text = buf;
        size = strlen(buf);
    }
    return kp__redis_url_read(text, size, to);
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* Set it to how it is lent, each time: a borrower may have changed it. */
static int make_ready(const kp_redis_options *o, struct kp__redis *r)
{
    int now = fcntl(r->c->fd, F_GETFL), flags = o->watcher ? now | O_NONBLOCK : now & ~O_NONBLOCK;

    if (now < 0 || (flags != now && fcntl(r->c->fd, F_SETFL, flags) != 0))
        return errno;
    if (o->watcher) {
        r->c->flags &= ~REDIS_BLOCK;
        return 0;
    }
    r->c->flags |= REDIS_BLOCK;
    kp__redis_timeout(r, o->command_timeout_ms == KP_OFF ? 0 : o->command_timeout_ms);
    return 0;
}

/* Greet the server on a new socket, or fail with why there is none. Returns what to wait for. */
static int greet(struct work *w, int fd, const struct kp__fault *fault)
{
    kp_job *job = w->run.job;
    struct kp__redis *r = w->r;

    if (fd < 0) {
        w->run.status = kp__redis_fail(job, fault->code, fault->text);
        return 0;
    }
    if (!*r->to.place.path)
        (void)kp__tcp_set(fd, true, 60, 10, 3);
    r->c = redisConnectFd(fd);
    if (r->c && !r->c->err)
        return kp__redis_greet(&w->talk, job, r, true);
    if (!r->c)
        (void)close(fd);
    w->run.status = kp__redis_fail(job, ENOMEM, "out of memory for a hiredis context");
    return 0;
}

static int step(struct kp__work *run, int ready)
{
    struct work *w = (struct work *)run;
    int wanted;

    if (w->dialing) {
        wanted = kp__dial_go_on(&w->dial, ready != 0);
        w->dialing = wanted != 0;
        return wanted ? wanted : greet(w, w->dial.fd, &w->dial.fault);
    }
    if (ready)
        return kp__redis_hear(&w->talk, ready, &run->status);
    run->status = kp__redis_fail_late(run->job, w->r);
    return 0;
}

static struct kp__wait wait_of(const struct kp__work *run)
{
    const struct work *w = (const struct work *)run;

    if (w->dialing)
        return (struct kp__wait){ kp__dial_fd(&w->dial), w->dial.turn_ns };
    return (struct kp__wait){ w->r->c->fd, run->until_ns };
}

/* ---- how jobs end ---------------------------------------------------------------------------- */

/* on_open: the last step of opening, and again after each RESET, which undoes what it did. */
static int open_anew(struct work *w)
{
    int left = kp__work_left_ms(&w->run), rc;
    kp_job *job = w->run.job;

    if (!w->o->on_open)
        return 0;
    kp__redis_timeout(w->r, left ? left : 1);   /* 0 would be none */
    rc = w->o->on_open(job, w->r->c, w->o->ctx);
    if (rc == 0 && w->r->c->err)
        return kp__redis_fail_broken(job, w->r);
    return rc > 0 ? kp__redis_fail(job, rc, "on_open failed") : rc;
}

static int lend(struct work *w)
{
    int code = make_ready(w->o, w->r);

    return code ? kp__redis_fail(w->run.job, code, strerror(code)) : 0;
}

static int finish_create(struct work *w, void **resource)
{
    int status = w->run.status;
    struct kp__redis *r = w->r;

    if (status == 0)
        status = open_anew(w);
    if (status == 0)
        status = lend(w);
    if (status != 0) {
        if (r->c)
            redisFree(r->c);
        free(r);
        return status;
    }
    if (w->o->counts)
        kp__count(&w->o->counts->opened, 1);
    *resource = r;
    return 0;
}

static int finish_reset(struct work *w)
{
    kp_redis_leftover *what = &w->what;
    bool greeted = w->o->tidy != KP_REDIS_LOOK;
    int status = w->run.status;

    if (greeted && w->talk.heard > w->talk.before)
        what->replies = w->talk.heard - w->talk.before;
    if (status == 0 && greeted)
        status = open_anew(w);
    if (status == 0)
        status = lend(w);
    what->closed = status != 0;
    if (w->o->counts) {
        kp__count(&w->o->counts->replies, (uint64_t)what->replies);
        kp__count(&w->o->counts->spoiled, what->closed);
    }
    if (w->o->on_leftover && (what->replies || what->unsent))
        w->o->on_leftover(what, w->o->ctx);
    return status;
}

static int finish(struct kp__work *run, void **resource)
{
    struct work *w = (struct work *)run;

    if (w->dialing)
        kp__dial_end(&w->dial);
    if (run->job->kind == KP_JOB_CREATE)
        return finish_create(w, resource);
    return run->job->kind == KP_JOB_RESET ? finish_reset(w) : run->status;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void work_begin(struct work *w, kp_job *job, struct kp__redis *r)
{
    static const struct kp__work_kind kind = {
        .size = sizeof *w, .step = step, .wait = wait_of, .finish = finish,
        .unwatched = kp__redis_fail_unwatched, .unwanted = kp__redis_fail_unwanted,
    };
    const kp_redis_options *o = job->ctx;
    int64_t check_ms = o->check_timeout_ms ? o->check_timeout_ms : CHECK_DEFAULT_MS;

    kp__work_begin(&w->run, &kind, job, o->watcher,
                   job->kind == KP_JOB_CREATE ? o->connect_timeout_ms : check_ms);
    w->r = r;
    w->o = o;
}

static int create(kp_job *job, void **resource)
{
    const kp_redis_options *o = job->ctx;
    struct kp__redis *r = calloc(1, sizeof *r);
    struct kp__fault fault;
    const char *wrong;
    struct work w;
    int wanted, fd;

    if (!r)
        return KP_ENOMEM;
    wrong = find_target(o, job, &r->to);
    if (wrong) {
        free(r);
        return refuse(job, wrong);
    }
    r->has_reset = true;
    work_begin(&w, job, r);
    if (o->watcher) {
        wanted = kp__dial_begin(&w.dial, &r->to.place, w.run.until_ns);
        w.dialing = wanted != 0;
        if (!wanted)
            wanted = greet(&w, w.dial.fd, &w.dial.fault);
    } else {
        fd = kp__dial(&r->to.place, w.run.until_ns, &fault);
        wanted = greet(&w, fd, &fault);
    }
    return kp__work_run(&w.run, wanted, resource);
}

/* A reason that the kernel gave, or a context that failed in a borrower's hands; `gone`: it says
 * that the server is gone. */
static int fail_as_left(kp_job *job, int code, const char *sentence, bool gone)
{
    int rc = kp__redis_fail(job, code, sentence);

    return gone ? KP_EGONE : rc;
}

/* By length: what is left to send may begin with a zero byte. From 1.1 on hiredis has a prefix. */
static bool has_unsent(const redisContext *c)
{
#ifdef HI_SDS_TYPE_8
    return c->obuf && hi_sdslen(c->obuf) > 0;
#else
    return c->obuf && sdslen(c->obuf) > 0;
#endif
}

/* Is something wrong that shows without asking the server? Commands that were appended and not sent
 * must not be sent now, and replies that are half parsed cannot be told from whole ones. */
static int look(kp_job *job, struct kp__redis *r, kp_redis_leftover *what)
{
    const kp_redis_options *o = job->ctx;
    const redisReader *reader = r->c->reader;
    int rc;

    if (r->c->err)
        return fail_as_left(job, EPROTO, r->c->errstr, r->c->err == REDIS_ERR_EOF ||
                            kp__is_gone(-kp__peek(r->c->fd)));
    what->unsent = has_unsent(r->c);
    if (what->unsent)
        return kp__redis_fail(job, EPROTO, "given back with commands that were not sent");
    if (o->tidy != KP_REDIS_LOOK)
        return 0;
    rc = reader->pos < reader->len || reader->ridx >= 0 ? 1 : kp__peek(r->c->fd);
    what->replies = rc > 0;
    return rc > 0 ? kp__redis_fail(job, EPROTO, "given back with replies unread")
           : rc < 0 ? fail_as_left(job, -rc, strerror(-rc), kp__is_gone(-rc)) : 0;
}

/* True where look finds nothing wrong; then it is set to how it is lent, as after a reset. */
static bool is_clean(void *resource, void *ctx)
{
    struct kp__redis *r = resource;
    const redisContext *c = r->c;

    return !c->err && !has_unsent(c) &&
           c->reader->pos >= c->reader->len && c->reader->ridx < 0 && kp__peek(c->fd) == 0 &&
           make_ready(ctx, r) == 0;
}

static int reset(kp_job *job, void *resource)
{
    struct work w;
    int wanted = 0;

    work_begin(&w, job, resource);
    w.what = (kp_redis_leftover){ .key = job->key, .tag = job->tag };
    w.run.status = look(job, w.r, &w.what);
    if (w.run.status == 0 && w.o->tidy != KP_REDIS_LOOK)
        wanted = kp__redis_greet(&w.talk, job, w.r, false);
    return kp__work_run(&w.run, wanted, NULL);
}

static int validate(kp_job *job, void *resource)
{
    struct work w;

    work_begin(&w, job, resource);
    return kp__work_run(&w.run, kp__redis_ping(&w.talk, job, w.r), NULL);
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

kp_driver kp__redis_driver(kp_redis_options *o)
{
    return (kp_driver){
        .create = create, .destroy = destroy, .validate = validate, .reset = reset,
        .is_clean = o->tidy == KP_REDIS_LOOK ? is_clean : NULL, /* others ask the server */
        .abandon = abandon, .cancel = o->watcher ? kp__work_cancel : NULL,
        .flags = o->watcher ? KP_NEVER_BLOCKS : 0, .ctx = o,
        .fd = KP__HAS_FD ? descriptor : NULL,
    };
}
