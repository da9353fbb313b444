/* SPDX-License-Identifier: MIT
 *
 * What the Redis adapter says to a server.
 *
 * A new connection and one that comes back are greeted alike: RESET, AUTH, PING with a word that is
 * said only once, SELECT, CLIENT SETNAME, all in one packet. Replies come in order, so what comes
 * before that word (less the replies to our own commands) is what a borrower left unread, however
 * much it is, and what comes after it is ours.
 */
#include "redis_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

/* ---- words ----------------------------------------------------------------------------------- */

int kp__redis_fail(kp_job *job, int code, const char *sentence)
{
    char text[400];

    (void)snprintf(text, sizeof text, "redis: %s", sentence);
    return kp_job_fail(job, code, text);
}

/* What a context says of its own failure; call it at once, for errno's sake. That a reply took too
 * long does not say that the server is gone. */
static int fail_as_context(kp_job *job, const struct kp__redis *r)
{
    int code = r->c->err == REDIS_ERR_IO ? errno : 0, rc;
    struct kp__fault fault;
    char at[300], text[512];

    if (r->c->err == REDIS_ERR_EOF)
        code = ECONNRESET;
    if (code) {
        bool late = code == EAGAIN || code == EWOULDBLOCK;

        (void)kp__fault_say(&fault, &r->to.place, late ? ETIMEDOUT : code);
        rc = kp__redis_fail(job, fault.code, fault.text);
        return job->kind != KP_JOB_CREATE && kp__is_gone(code) ? KP_EGONE : rc;
    }
    kp__place_text(&r->to.place, at, sizeof at);
    (void)snprintf(text, sizeof text, "%s, is that a Redis server?: %s", r->c->errstr, at);
    return kp__redis_fail(job, EPROTO, text);
}

/* What an error reply means: the words it begins with, an errno, and whether that of a program or a
 * server has to be changed before it goes away. */
static const struct {
    const char *words;
    int         code;
} meanings[] = {
    { "NOAUTH", EACCES }, { "WRONGPASS", EACCES }, { "NOPERM", EACCES }, { "DENIED", EACCES },
    { "ERR invalid password", EACCES }, { "ERR AUTH ", EACCES },
    { "ERR Client sent AUTH", EACCES }, { "ERR wrong number of arguments for 'auth'", EACCES },
    { "ERR DB index", EACCES }, { "ERR invalid DB index", EACCES },
    { "ERR SELECT is not allowed", EACCES }, { "ERR max number of clients", EUSERS },
};

static int meaning(const char *error)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (strncmp(error, meanings[i].words, strlen(meanings[i].words)) == 0)
            return meanings[i].code;
    }
    return EPROTO;
}

/* KP_EREFUSED where trying again cannot help. */
static int fail_as_reply(kp_job *job, const struct kp__redis *r, const char *error)
{
    int code = meaning(error), rc;
    char at[300], text[512];

    kp__place_text(&r->to.place, at, sizeof at);
    (void)snprintf(text, sizeof text, "%.*s (%d): %s", (int)strcspn(error, "\r\n"), error, code,
                   at);
    rc = kp__redis_fail(job, code, text);
    return code == EACCES ? KP_EREFUSED : rc;
}

/* ---- talking --------------------------------------------------------------------------------- */

void kp__redis_timeout(struct kp__redis *r, int64_t ms)
{
    struct timeval tv = { 0 };

    tv.tv_sec = (time_t)(ms / 1000);
    tv.tv_usec = (suseconds_t)(ms % 1000 * 1000);
    (void)redisSetTimeout(r->c, tv);
}

/* Commands that go out together. Not through hiredis, which would raise SIGPIPE where the server
 * has gone. There is room for the longest greeting. */
struct packet {
    size_t size;
    char   text[4096];
};

static void add(struct packet *p, const char *a, const char *b, const char *c)
{
    const char *words[] = { a, b, c, NULL };
    int n = c ? 3 : b ? 2 : 1;

    p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "*%d\r\n", n);
    for (int i = 0; i < n; i++)
        p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "$%zu\r\n%s\r\n",
                                    strlen(words[i]), words[i]);
}

/* What fails here fails again when a reply is waited for, and there the server may have said why: a
 * full one does, and hangs up. */
static void deliver(const struct kp__redis *r, const struct packet *p)
{
    size_t done = 0;

    while (done < p->size) {
        ssize_t n = send(r->c->fd, p->text + done, p->size - done, MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return;
        done += n > 0 ? (size_t)n : 0;
    }
}

/* What is left for one more read or write; never 0, which would be no timeout. */
static int timeout(int64_t until_ms)
{
    int left = kp__left_ms(until_ms);

    return left ? left : 1;
}

/* The next reply; NULL, and c->err and errno, if there is none before `until_ms`. */
static redisReply *hear(struct kp__redis *r, int64_t until_ms)
{
    void *reply = NULL;

    if (r->c->reader->pos >= r->c->reader->len)
        kp__redis_timeout(r, timeout(until_ms));
    errno = 0;
    return redisGetReply(r->c, &reply) == REDIS_OK ? reply : NULL;
}

/* A word for PING that no reply to anything else can be. */
static void new_word(char *word, size_t size)
{
    static uint64_t said;
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(word, size, "keyedpool-%llx-%lx-%llx", (unsigned long long)now.tv_sec,
                   (unsigned long)now.tv_nsec,
                   (unsigned long long)__atomic_add_fetch(&said, 1, __ATOMIC_RELAXED));
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

/* ---- greeting -------------------------------------------------------------------------------- */

/* Said before the word; returns how many. RESET ends everything but the connection; a server that
 * has none is told one by one. What opens a subscription cannot be inside MULTI, so DISCARD comes
 * first; and in one UNWATCH is not heard, so that comes last. */
static int add_reset(struct packet *p, const struct kp__redis *r, bool new)
{
    static const char *const old[] = { "DISCARD", "UNSUBSCRIBE", "PUNSUBSCRIBE", "UNWATCH" };
    int n = 0;

    if (new || r->has_reset) {
        add(p, "RESET", NULL, NULL);
        n = 1;
    } else {
        for (; n < 4; n++)
            add(p, old[n], NULL, NULL);
    }
    if (r->to.password[0]) {
        if (r->to.user[0])
            add(p, "AUTH", r->to.user, r->to.password);
        else
            add(p, "AUTH", r->to.password, NULL);
        n++;
    }
    return n;
}

/* Said after it; returns how many. */
static int add_state(struct packet *p, const struct kp__redis *r, const char *name, bool new)
{
    bool select = r->to.db != 0 || !(new || r->has_reset);
    bool named = name && *name;
    char db[16];

    (void)snprintf(db, sizeof db, "%d", r->to.db);
    if (select)
        add(p, "SELECT", db, NULL);
    if (named)
        add(p, "CLIENT", "SETNAME", name);
    return select + named;
}

/* One that came before the word. On a new connection it is ours; on one that comes back it may be
 * the borrower's, and then only the words that end all hope count. A MONITOR that an old server
 * cannot end tells of the word itself. */
static int judge(kp_job *job, struct kp__redis *r, const redisReply *reply, const char *word,
                 bool new, int64_t number)
{
    bool error = reply->type == REDIS_REPLY_ERROR;

    if (!new && reply->type == REDIS_REPLY_STATUS && strstr(reply->str, word))
        return kp__redis_fail(job, EPROTO, "given back with MONITOR on");
    if (!error)
        return 0;
    if (new && number == 1 && strncasecmp(reply->str, "ERR unknown command", 19) == 0) {
        r->has_reset = false;
        return 0;
    }
    return new || strncmp(reply->str, "NOAUTH", 6) == 0 || strncmp(reply->str, "WRONGPASS", 9) == 0
               ? fail_as_reply(job, r, reply->str) : 0;
}

/* Up to the word. Returns how many replies came before it, or negative. */
static int64_t hear_word(kp_job *job, struct kp__redis *r, const char *word, bool new,
                         int64_t until_ms)
{
    for (int64_t n = 0;; n++) {
        redisReply *reply = hear(r, until_ms);
        int rc;

        if (!reply)
            return fail_as_context(job, r);
        if (is_word(reply, word)) {
            freeReplyObject(reply);
            return n;
        }
        rc = judge(job, r, reply, word, new, n + 1);
        freeReplyObject(reply);
        if (rc)
            return rc;
        if (kp__left_ms(until_ms) == 0)
            return kp__redis_fail(job, ETIMEDOUT, "its replies do not end");
    }
}

int kp__redis_greet(kp_job *job, struct kp__redis *r, bool new, int64_t until_ms, int64_t *left)
{
    const kp_redis_options *o = job->ctx;
    struct packet p = { .size = 0 };
    int before, after, rc;
    char word[64];
    int64_t heard;

    new_word(word, sizeof word);
    before = add_reset(&p, r, new);
    add(&p, "PING", word, NULL);
    after = add_state(&p, r, o->client_name, new);
    kp__redis_timeout(r, timeout(until_ms));
    deliver(r, &p);
    heard = hear_word(job, r, word, new, until_ms);
    if (heard < 0)
        return (int)heard;
    *left = heard > before ? heard - before : 0;
    for (rc = 0; after > 0 && rc == 0; after--) {
        redisReply *reply = hear(r, until_ms);

        if (!reply)
            return fail_as_context(job, r);
        if (reply->type == REDIS_REPLY_ERROR)
            rc = fail_as_reply(job, r, reply->str);
        freeReplyObject(reply);
    }
    if (rc || !o->on_open)
        return rc;
    kp__redis_timeout(r, timeout(until_ms));
    rc = o->on_open(job, r->c, o->ctx);
    if (rc == 0 && r->c->err)
        return fail_as_context(job, r);
    return rc > 0 ? kp__redis_fail(job, rc, "on_open failed") : rc;
}

int kp__redis_ping(kp_job *job, struct kp__redis *r, int64_t until_ms)
{
    struct packet p = { .size = 0 };
    redisReply *reply;
    char word[64];
    int rc = 0;

    new_word(word, sizeof word);
    add(&p, "PING", word, NULL);
    kp__redis_timeout(r, timeout(until_ms));
    deliver(r, &p);
    reply = hear(r, until_ms);
    if (!reply)
        return fail_as_context(job, r);
    if (reply->type == REDIS_REPLY_ERROR)
        rc = fail_as_reply(job, r, reply->str);
    else if (!is_word(reply, word))
        rc = kp__redis_fail(job, EPROTO, "a reply came that is not the one to PING");
    freeReplyObject(reply);
    return rc;
}
