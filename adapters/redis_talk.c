/* SPDX-License-Identifier: MIT
 *
 * What the Redis adapter says to a server.
 *
 * A new connection and one that comes back are greeted alike: RESET, AUTH, PING with a word that is
 * used only once, SELECT, CLIENT SETNAME, all in one packet. Replies come in order, so those before
 * that word (less the ones to our own commands) are what a borrower left unread, however much it
 * is, and those after it are ours.
 *
 * A server that cannot save refuses writes, and PING, too (MISCONF), though it can be read from. So
 * it is then asked with ECHO, and a word of its own.
 */
#include "redis_parts.h"

#include <errno.h>
#include <poll.h>
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

/* KP_EGONE if the server is gone; a reply that took too long does not say so. */
int kp__redis_fail_broken(kp_job *job, const struct kp__redis *r)
{
    int code = r->c->err == REDIS_ERR_IO ? errno : 0, rc;
    struct kp__fault fault;
    char at[300], text[512];

    if (r->c->err == REDIS_ERR_EOF)
        code = ECONNRESET;
#ifdef REDIS_ERR_TIMEOUT
    if (r->c->err == REDIS_ERR_TIMEOUT)         /* recv's ETIMEDOUT, from hiredis 1.0 on */
        code = ETIMEDOUT;
#endif
    if (code) {
        bool late = code == EAGAIN || code == EWOULDBLOCK;

        (void)kp__fault_say(&fault, &r->to.place, late ? ETIMEDOUT : code);
        rc = kp__redis_fail(job, fault.code, fault.text);
        return job->kind != KP_JOB_CREATE && kp__is_gone(code) ? KP_EGONE : rc;
    }
    kp__place_text(&r->to.place, at, sizeof at);
    (void)snprintf(text, sizeof text, "%s (is that a Redis server?): %s", r->c->errstr, at);
    return kp__redis_fail(job, EPROTO, text);
}

int kp__redis_fail_late(kp_job *job, const struct kp__redis *r)
{
    struct kp__fault fault;

    (void)kp__fault_say(&fault, &r->to.place, ETIMEDOUT);
    return kp__redis_fail(job, fault.code, fault.text);
}

/* Two watches of one descriptor are misuse to most event loops. */
int kp__redis_fail_unwatched(kp_job *job, int rc)
{
    if (rc == KP_ENOMEM)
        return kp__redis_fail(job, ENOMEM, "out of memory in the watcher");
    return kp__redis_fail(job, EBUSY, "it cannot be watched: does a borrower's watch go on?");
}

int kp__redis_fail_unwanted(kp_job *job)
{
    return kp__redis_fail(job, ECANCELED, "nobody waited for it any more");
}

/* What an error reply means, by the words it begins with, as an errno. EACCES: it comes again until
 * the settings of the program or the server are changed. */
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

/* How much of an error may be told: one that refuses AUTH repeats the password, or all that we have
 * sent. */
static int tellable(const struct kp__redis *r, const char *error)
{
    const char *password = r->to.password;
    const char *secret[] = { strstr(error, ", with args beginning with"),
                             *password ? strstr(error, password) : NULL };
    size_t told = strcspn(error, "\r\n");

    for (int i = 0; i < 2; i++) {
        if (secret[i] && (size_t)(secret[i] - error) < told)
            told = (size_t)(secret[i] - error);
    }
    return (int)told;
}

/* KP_EREFUSED where trying again cannot help. */
static int fail_as_reply(kp_job *job, const struct kp__redis *r, const char *error)
{
    int code = meaning(error), rc;
    char at[300], text[512];

    kp__place_text(&r->to.place, at, sizeof at);
    (void)snprintf(text, sizeof text, "%.*s (%d): %s", tellable(r, error), error, code, at);
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

static void add(struct kp__redis_talk *t, const char *a, const char *b, const char *c)
{
    const char *words[] = { a, b, c, NULL };
    int n = c ? 3 : b ? 2 : 1;

    t->size += (size_t)snprintf(t->text + t->size, sizeof t->text - t->size, "*%d\r\n", n);
    for (int i = 0; i < n; i++)
        t->size += (size_t)snprintf(t->text + t->size, sizeof t->text - t->size, "$%zu\r\n%s\r\n",
                                    strlen(words[i]), words[i]);
}

/* Send as much as goes without waiting. True: there is more to send. Not through hiredis, which
 * would raise SIGPIPE if the server is gone. What fails here fails again when a reply is read, and
 * there the server may have said why: one that is full does, and hangs up. */
static bool deliver(struct kp__redis_talk *t)
{
    while (t->sent < t->size) {
        ssize_t n = send(t->r->c->fd, t->text + t->sent, t->size - t->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        t->sent = n < 0 ? t->size : t->sent + (size_t)n;
    }
    return false;
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

/* The commands before the word; returns how many. RESET ends everything but the connection; a
 * server without it is told to end one thing after the other. DISCARD comes first, for no
 * subscription can begin inside MULTI; UNWATCH comes after UNSUBSCRIBE, for it is refused in a
 * subscription, as HELLO is in the old protocol, where it is not needed. Errors for what a server
 * does not know do not matter. */
static int add_reset(struct kp__redis_talk *t, const struct kp__redis *r, bool new)
{
    static const char *const old[][3] = {
        { "DISCARD" }, { "HELLO", "2" }, { "UNSUBSCRIBE" }, { "PUNSUBSCRIBE" }, { "UNWATCH" },
        { "CLIENT", "TRACKING", "OFF" }, { "CLIENT", "SETNAME", "" }, { "READWRITE" },
    };
    int n = 0;

    if (new || r->has_reset) {
        add(t, "RESET", NULL, NULL);
        n = 1;
    } else {
        for (; n < 8; n++)
            add(t, old[n][0], old[n][1], old[n][2]);
    }
    if (r->to.password[0]) {
        if (r->to.user[0])
            add(t, "AUTH", r->to.user, r->to.password);
        else
            add(t, "AUTH", r->to.password, NULL);
        n++;
    }
    return n;
}

/* The commands after the word; returns how many. */
static int add_state(struct kp__redis_talk *t, const struct kp__redis *r, const char *name,
                     bool new)
{
    bool select = r->to.db != 0 || !(new || r->has_reset);
    bool named = name && *name;
    char db[16];

    (void)snprintf(db, sizeof db, "%d", r->to.db);
    if (select)
        add(t, "SELECT", db, NULL);
    if (named)
        add(t, "CLIENT", "SETNAME", name);
    return select + named;
}

/* Errors after which nothing works: the server answers PING in no other way. */
static bool is_final(const char *error)
{
    static const char *const words[] = { "NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN", "BUSY " };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strncmp(error, words[i], strlen(words[i])) == 0)
            return true;
    }
    return false;
}

/* A MONITOR, which a server without RESET cannot end, shows our PING with the word: before the word
 * itself comes, or, as in Redis 7, after it. */
static bool is_monitored(const struct kp__redis_talk *t, const redisReply *reply)
{
    return !t->new && !t->only_ping && reply->type == REDIS_REPLY_STATUS &&
           strstr(reply->str, t->word);
}

static bool is_unknown(const char *error)
{
    return strncasecmp(error, "ERR unknown command", 19) == 0;
}

/* "ERR unknown command `SELECT`": a Sentinel has no databases, so none has to be undone. */
static bool is_needless(const struct kp__redis *r, const char *error)
{
    const char *quote = strpbrk(error, "'`");

    return r->to.db == 0 && is_unknown(error) && quote && strncasecmp(quote + 1, "SELECT", 6) == 0;
}

/* Judge a reply that came before the word. On a new connection it is to us; on one that comes back
 * it may be to the borrower, so only final errors count. */
static int judge(kp_job *job, struct kp__redis *r, const redisReply *reply, bool new,
                 int64_t number)
{
    if (reply->type != REDIS_REPLY_ERROR)
        return 0;
    if (new && number == 1 && is_unknown(reply->str)) {
        r->has_reset = false;
        return 0;
    }
    return new || is_final(reply->str) ? fail_as_reply(job, r, reply->str) : 0;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void begin(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r)
{
    memset(t, 0, offsetof(struct kp__redis_talk, text));
    t->job = job;
    t->r = r;
    new_word(t->word, sizeof t->word);
}

int kp__redis_greet(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r, bool new)
{
    const kp_redis_options *o = job->ctx;

    begin(t, job, r);
    t->new = new;
    t->before = add_reset(t, r, new);
    add(t, "PING", t->word, NULL);
    t->after = add_state(t, r, o->client_name, new);
    return deliver(t) ? POLLIN | POLLOUT : POLLIN;
}

int kp__redis_ping(struct kp__redis_talk *t, kp_job *job, struct kp__redis *r)
{
    begin(t, job, r);
    t->only_ping = true;
    add(t, "PING", t->word, NULL);
    return deliver(t) ? POLLIN | POLLOUT : POLLIN;
}

/* With ECHO, for PING was refused, or maybe a borrower's command. What PING and the commands after
 * it are answered comes before the new word; those are said again. */
static void ask_again(struct kp__redis_talk *t)
{
    const kp_redis_options *o = t->job->ctx;

    t->echoes = true;
    t->before += 1 + t->after;
    new_word(t->word, sizeof t->word);
    add(t, "ECHO", t->word, NULL);
    if (!t->only_ping)
        (void)add_state(t, t->r, o->client_name, t->new);
}

static int take(struct kp__redis_talk *t, const redisReply *reply)
{
    bool error = reply->type == REDIS_REPLY_ERROR;

    if (!t->heard_word && is_word(reply, t->word)) {
        t->heard_word = true;
        return 0;
    }
    if (is_monitored(t, reply))
        return kp__redis_fail(t->job, EPROTO, "given back with MONITOR on");
    if (!t->heard_word && error && strncmp(reply->str, "MISCONF", 7) == 0) {
        if (!t->echoes)
            ask_again(t);
        t->heard++;
        return 0;
    }
    if (t->echoes && error && strcasestr(reply->str, "echo"))
        return fail_as_reply(t->job, t->r, "MISCONF, and ECHO is not allowed instead of PING");
    if (!t->heard_word && !t->only_ping) {
        int status = judge(t->job, t->r, reply, t->new, t->heard + 1);

        t->heard += status == 0;        /* else it is the answer to our PING */
        return status;
    }
    if (error && !(t->heard_word && is_needless(t->r, reply->str)))
        return fail_as_reply(t->job, t->r, reply->str);
    if (!t->heard_word)
        return kp__redis_fail(t->job, EPROTO, "a reply came that does not answer PING");
    t->after--;
    return 0;
}

int kp__redis_hear(struct kp__redis_talk *t, int ready, int *status)
{
    redisContext *c = t->r->c;

    (void)deliver(t);
    errno = 0;
    if ((ready & POLLIN) && redisBufferRead(c) != REDIS_OK) {
        *status = kp__redis_fail_broken(t->job, t->r);
        return 0;
    }
    while (!t->heard_word || t->after > 0) {
        void *reply = NULL;

        if (redisGetReplyFromReader(c, &reply) != REDIS_OK)
            *status = kp__redis_fail_broken(t->job, t->r);
        else if (!reply)
            return deliver(t) ? POLLIN | POLLOUT : POLLIN;
        else
            *status = take(t, reply);
        if (reply)
            freeReplyObject(reply);
        if (*status)
            return 0;
    }
    if (c->reader->pos < c->reader->len)        /* the next borrower would read it */
        *status = kp__redis_fail(t->job, EPROTO, "more came than was asked for");
    return 0;
}
