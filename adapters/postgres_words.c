/* SPDX-License-Identifier: MIT
 *
 * The words of the PostgreSQL adapter: options, the settings of a key laid over those of all, and
 * reasons as one sentence with a SQLSTATE.
 */
#include "postgres_parts.h"

#include "fill.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_CONNECTION KP_PG_SQLSTATE('0', '8', '0', '0', '1')
#define LOST KP_PG_SQLSTATE('0', '8', '0', '0', '6')
#define GOES_DOWN KP_PG_SQLSTATE('5', '7', 'P', '0', '1')
#define HAS_CRASHED KP_PG_SQLSTATE('5', '7', 'P', '0', '2')
#define BAD_PASSWORD KP_PG_SQLSTATE('2', '8', 'P', '0', '1')
#define NO_DATABASE KP_PG_SQLSTATE('3', 'D', '0', '0', '0')
#define CANCELED KP_PG_SQLSTATE('5', '7', '0', '1', '4')
#define NO_MEMORY KP_PG_SQLSTATE('5', '3', '2', '0', '0')
#define LEFT_IN_USE KP_PG_SQLSTATE('2', '5', '0', '0', '0')

kp_pg_counts kp_pg_counts_read(const kp_pg_counts *counts)
{
    kp_pg_counts out;

    kp__counts_read(counts, &out, sizeof out);
    return out;
}

uint32_t kp__pg_change_of(PGresult *result)
{
    static const char *const settings[] = { "SET", "RESET", "DISCARD", "DECLARE" };
    const char *tag = PQresultStatus(result) == PGRES_COMMAND_OK ? PQcmdStatus(result) : "";

    if (strncmp(tag, "LISTEN", 6) == 0 || strncmp(tag, "UNLISTEN", 8) == 0)
        return KP_PG_LEFT_LISTEN;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (strncmp(tag, settings[i], strlen(settings[i])) == 0)
            return KP_PG_LEFT_SETTING;
    return 0;
}

/* ---- reasons --------------------------------------------------------------------------------- */

static bool is_state(const char *s)
{
    for (int i = 0; i < 5; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z')))
            return false;
    return true;
}

static int pack(const char *s)
{
    return KP_PG_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

int kp__pg_end_of(const PGresult *result)
{
    const char *severity, *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (!state || !is_state(state))
        return 0;
    severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!severity)                      /* PgBouncer says it in English anyway */
        severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
    return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)
               ? pack(state) : 0;
}

/* After a create: KP_EREFUSED where another try cannot help, since the user is not let in or the
 * database does not exist. Of a connection that was in use: KP_EGONE if the server is gone, and
 * with it, maybe, other connections of this key. A server that goes says so in the last message of
 * each session; an idle timeout concerns one session alone. */
static int answer(kp_job *job, int state, const char *text)
{
    bool who = (state & 0xfff) == KP_PG_SQLSTATE('2', '8', '0', '0', '0');
    bool gone = state == LOST || state == GOES_DOWN || state == HAS_CRASHED;
    int rc = kp_job_fail(job, state, text);

    if (job->kind == KP_JOB_CREATE)
        return who || state == NO_DATABASE ? KP_EREFUSED : rc;
    return gone ? KP_EGONE : rc;
}

/* The sentence first, then its state, then where: kp_why.text is cut at its end. */
static int say(kp_job *job, int state, const char *sentence, size_t size, const char *where)
{
    char text[512], letters[6];

    kp_pg_sqlstate(state, letters);
    while (size > 0 && (sentence[size - 1] == '\n' || sentence[size - 1] == ' '))
        size--;
    (void)snprintf(text, sizeof text, "postgres: %.*s (%s)%s%s", size > 300 ? 300 : (int)size,
                   sentence, letters, *where ? ", " : "", where);
    return answer(job, state, text);
}

/* libpq reports all of several attempts (hosts, with TLS and without); the last one counts. */
static const char *last_of(const char *text, const char *what)
{
    const char *found = NULL, *next;

    for (next = strstr(text, what); next; next = strstr(next + 1, what))
        found = next;
    return found;
}

/* libpq says "connection to server at "h", port 1 failed: FATAL:  28P01: sentence", then lines of
 * detail; what it found out by itself has no state, and may have another form. */
int kp__pg_fail_connect(kp_job *job, PGconn *conn)
{
    const char *text = PQerrorMessage(conn), *cause;
    const char *begin = last_of(text, "connection to server ");
    int state = PQconnectionNeedsPassword(conn) ? BAD_PASSWORD : NO_CONNECTION;
    char where[200] = "";

    if (begin && (cause = strstr(begin, " failed: ")) != NULL) {
        (void)snprintf(where, sizeof where, "%.*s", (int)(cause - begin), begin);
        text = cause + strlen(" failed: ");
    }
    cause = strstr(text, ":  ");
    if (cause && is_state(cause + 3) && cause[8] == ':') {
        state = pack(cause + 3);
        text = cause + strlen(":  28P01: ");
    }
    return say(job, state, text, strcspn(text, "\n"), where);
}

int kp__pg_fail_lost(kp_job *job, PGconn *conn, int ended)
{
    const char *text = PQerrorMessage(conn);
    bool lost = PQstatus(conn) == CONNECTION_BAD;

    if (!*text)
        text = "the connection was lost";
    return say(job, ended ? ended : lost ? LOST : NO_MEMORY, text, strcspn(text, "\n"), "");
}

int kp__pg_fail_late(kp_job *job, const PGconn *conn, bool connecting)
{
    const char *host = PQhost(conn), *port = PQport(conn);
    char where[200], sentence[64];

    (void)snprintf(where, sizeof where, "server at \"%s\", port %s", host ? host : "",
                   port ? port : "");
    (void)snprintf(sentence, sizeof sentence, "%s in time",
                   connecting ? "no connection" : "no answer");
    return say(job, connecting ? NO_CONNECTION : CANCELED, sentence, strlen(sentence), where);
}

int kp__pg_fail_memory(kp_job *job)
{
    return kp_job_fail(job, NO_MEMORY, "postgres: out of memory (53200)");
}

/* Two watches of one descriptor are misuse to most event loops. */
int kp__pg_fail_unwatched(kp_job *job, int rc)
{
    return rc == KP_ENOMEM
               ? kp__pg_fail_memory(job)
               : kp__pg_fail_left(job, "it cannot be watched: does a borrower's watch go on?");
}

int kp__pg_fail_unwanted(kp_job *job)
{
    return kp_job_fail(job, CANCELED, "postgres: nobody waited for it any more (57014)");
}

int kp__pg_fail_left(kp_job *job, const char *what)
{
    return say(job, LEFT_IN_USE, what, strlen(what), "");
}

int kp__pg_fail_result(kp_job *job, PGconn *conn, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    switch (PQresultStatus(result)) {
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        return 0;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return kp__pg_fail_left(job, "set_up or reset_sql began a COPY");
    default:
        break;
    }
    if (!state || !is_state(state) || !text)
        return kp__pg_fail_lost(job, conn, 0);
    return say(job, pack(state), text, strlen(text), "");
}

/* ---- settings -------------------------------------------------------------------------------- */

enum { SETTINGS = 128 };

struct settings {
    const char *name[SETTINGS], *value[SETTINGS];
    int         count;
};

/* Of two settings with one name PQconnectStartParams takes the later. */
static void lay_over(struct settings *s, const PQconninfoOption *options)
{
    for (; options && options->keyword; options++)
        if (options->val && s->count < SETTINGS - 2) {
            s->name[s->count] = options->keyword;
            s->value[s->count++] = options->val;
        }
}

static bool has_password(const PQconninfoOption *options)
{
    for (; options && options->keyword; options++)
        if (options->val && strstr(options->keyword, "password"))
            return true;
    return false;
}

/* Is it a URI like "u:a/b@host" or "u:a@b/c@host"? An address in brackets has colons, too. */
static bool is_torn_uri(const char *text)
{
    const char *from = strncmp(text, "postgres", strlen("postgres")) == 0 ? strstr(text, "://")
                                                                          : NULL;
    const char *path;

    if (!from)
        return false;
    from += strlen("://");
    if (*from == '[')
        from += strcspn(from, "]");
    path = from + strcspn(from, "/?");
    return memchr(from, ':', (size_t)(path - from)) && memchr(path, '@', strcspn(path, "?"));
}

/* In a URI an @ or / in the password ends it, and its rest is taken for a host, a port or a
 * database: as such libpq would tell it, when it cannot connect. */
static bool is_torn(const char *text, const PQconninfoOption *options)
{
    if (is_torn_uri(text))
        return true;
    for (; options->keyword; options++) {
        const char *value = options->val ? options->val : "";

        if (strcmp(options->keyword, "port") == 0 && value[strspn(value, "0123456789, ")])
            return true;
        if (strcmp(options->keyword, "host") != 0)
            continue;
        for (; *value; value += strcspn(value, ","), value += *value == ',')
            if (*value != '/' && *value != '@' && memchr(value, '@', strcspn(value, ",")))
                return true;
    }
    return false;
}

/* NULL: it makes no sense, or there was no memory. libpq's message is dropped: it would quote what
 * it does not understand, even a password. */
static PQconninfoOption *parse(const char *text, bool *starved)
{
    char *message = NULL;
    PQconninfoOption *options;

    errno = 0;
    options = PQconninfoParse(text, &message);
    if (!options && errno == ENOMEM)    /* of malloc: the message may be in any language */
        *starved = true;
    PQfreemem(message);
    if (!options || !is_torn(text, options))
        return options;
    PQconninfoFree(options);
    return NULL;
}

static int refuse(kp_job *job, const char *text)
{
    (void)kp_job_fail(job, NO_CONNECTION, text);
    return KP_EREFUSED;
}

static int connect_with(kp_job *job, const char *base_text, const char *own_text, PGconn **out)
{
    struct settings s = { .name = { "fallback_application_name" }, .value = { "keyedpool" },
                          .count = 1 };
    bool bare = *own_text && !strchr(own_text, '=') && !strstr(own_text, "://");
    bool starved = false;
    PQconninfoOption *base = parse(base_text, &starved);
    PQconninfoOption *own = bare ? NULL : parse(own_text, &starved);
    int rc = 0;

    if (starved) {
        rc = kp__pg_fail_memory(job);
    } else if (!base || (!own && !bare)) {
        rc = refuse(job, "postgres: neither a database name nor a conninfo string or URI");
    } else if (own_text == job->key.data && has_password(own)) {
        rc = refuse(job, "postgres: a key must not have a password, as keys appear in reports: "
                         "put it into options.conninfo or conninfo_for");
    } else {
        lay_over(&s, base);
        lay_over(&s, own);
        if (bare) {
            s.name[s.count] = "dbname";
            s.value[s.count] = own_text;
        }
        *out = PQconnectStartParams(s.name, s.value, 0);
        if (!*out)
            rc = kp__pg_fail_memory(job);
    }
    PQconninfoFree(base);
    PQconninfoFree(own);
    return rc;
}

int kp__pg_connect_begin(const kp_pg_options *o, kp_job *job, PGconn **out)
{
    const char *base = o->conninfo ? o->conninfo : "", *key = job->key.data ? job->key.data : "";
    char text[2048];
    int rc;

    if (strlen(key) != job->key.size)
        return refuse(job, "postgres: the key has a NUL in it");
    if (!o->conninfo_for)
        return connect_with(job, base, key, out);
    text[0] = '\0';
    if (o->conninfo_for(job->key, text, sizeof text, o->ctx) != 0)
        return refuse(job, "postgres: conninfo_for does not know this key");
    text[sizeof text - 1] = '\0';
    rc = connect_with(job, base, text, out);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool is_time(int64_t ms)
{
    return ms >= 0 && ms <= INT_MAX;
}

/* The name of the first impossible option, with a sentence; or NULL. */
static const char *impossible(const kp_pg_options *o, const kp_options *options,
                              const char **sentence, bool *starved)
{
    PQconninfoOption *parsed = parse(o->conninfo ? o->conninfo : "", starved);

    PQconninfoFree(parsed);
    *sentence = "it must be a conninfo string or URI: is a setting misspelt, or a =, @ or / in a "
                "URI not written %3D, %40 or %2F?";
    if (!parsed)
        return "postgres.conninfo";
    *sentence = "it must be KP_PG_TIDY, KP_PG_ROLLBACK or KP_PG_DISCARD_ALL";
    if (o->reset < 0 || o->reset > KP_PG_DISCARD_ALL)
        return "postgres.reset";
    *sentence = "it is run instead of reset: set only one of them";
    if (o->reset && o->reset_sql)
        return "postgres.reset_sql";
    *sentence = "it must be a time";
    if (!is_time(o->connect_timeout_ms))
        return "postgres.connect_timeout_ms";
    if (!is_time(o->answer_timeout_ms))
        return "postgres.answer_timeout_ms";
    *sentence = KP__NEWER;
    if (o->reserved0 || KP__SAYS_MORE(o))
        return "postgres.reserved";
    *sentence = "it is for a pool of an event loop: set options.loop first";
    if (o->watcher && !options->loop)
        return "postgres.watcher";
    *sentence = "it has no start or no stop: was its glue opened?";
    if (o->watcher && !(o->watcher->start && o->watcher->stop))
        return "postgres.watcher";
    *sentence = "a pool of an event loop may not block, so it needs one";
    return options->loop && !o->watcher ? "postgres.watcher" : NULL;
}

int kp_pg_fill(const kp_pg_options *pg, kp_options *options)
{
    static const size_t strings[] = { offsetof(kp_pg_options, conninfo),
                                      offsetof(kp_pg_options, set_up),
                                      offsetof(kp_pg_options, reset_sql), KP__NO_STRING };
    static const kp_pg_options defaults;
    const char *field, *sentence;
    bool starved = false;
    kp_pg_options *kept;

    if (!options)
        return kp__fill_none();
    if (!pg)
        pg = &defaults;
    field = impossible(pg, options, &sentence, &starved);
    if (starved)
        return KP_ENOMEM;
    if (field)
        return kp__fill_refused(options, field, sentence);
    kept = kp__keep(pg, sizeof *pg, strings, &options->driver);
    if (!kept)
        return KP_ENOMEM;
    options->driver = kp__pg_driver(kept);
    options->driver.drop_ctx = kp__drop_kept;
    memset(&options->key_type, 0, sizeof options->key_type);
    return 0;
}

int kp_pg_open(const kp_pg_options *pg, const kp_options *more, kp_pool **out)
{
    kp_options options = kp__options(more);
    int rc = kp_pg_fill(pg, &options);

    return kp__open_filled(rc, &options, kp__unkeep, out);
}
