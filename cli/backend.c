/* SPDX-License-Identifier: MIT
 *
 * The table of backends, and how a URL is read and shown. CMake says for each one whether it is
 * linked: CLI_POSTGRES is 1 or 0.
 */
#include "backend.h"

#include "term.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Schemes after a NULL are known, so that the adapter can say why not, but they are not offered. */
#define BACKENDS(X) /* is it linked?, name, schemes */        \
    X(CLI_SQLITE, sqlite, "sqlite:")                          \
    X(CLI_POSTGRES, postgres, "postgres://", "postgresql://") \
    X(CLI_REDIS, redis, "redis://", NULL, "rediss://")        \
    X(CLI_HTTP, http, "http://", "https://")

#define DECLARE(linked, name, ...) extern const struct backend name##_backend;
#define ROW(linked, name, ...) { #name, IF(linked, &name##_backend), { __VA_ARGS__ } },
#define IF(linked, that) IF_(linked, that)
#define IF_(linked, that) IF_##linked(that)
#define IF_1(that) that
#define IF_0(that) NULL

BACKENDS(DECLARE)

enum { SCHEMES = 3 };

static const struct row {
    const char *name;
    const struct backend *backend;      /* NULL: its adapter was not built */
    const char *scheme[SCHEMES];
} rows[] = { BACKENDS(ROW) };

enum { ROWS = sizeof rows / sizeof rows[0] };

const char *text_of(char *buf, size_t size, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(buf, size, format, ap);
    va_end(ap);
    return buf;
}

const char *backends_row(int i, const struct backend **backend)
{
    if (i >= ROWS)
        return NULL;
    *backend = rows[i].backend;
    return rows[i].name;
}

void backends_print(const char *indent)
{
    for (int i = 0; i < ROWS; i++) {
        const struct backend *b = rows[i].backend;

        if (b)
            printf("%s%s: %s %s\n", indent, rows[i].name, b->library, b->version());
        else
            printf("%s%s: not in this build\n", indent, rows[i].name);
    }
}

/* ---- what is shown of a URL ------------------------------------------------------------------ */

struct text { char *at, *end; };

static void put(struct text *t, const char *from, size_t n)
{
    if (n > (size_t)(t->end - t->at))
        n = (size_t)(t->end - t->at);
    memcpy(t->at, from, n);
    t->at += n;
    *t->at = '\0';
}

static bool is_harmless(const char *setting, size_t n)
{
    static const char *const names[] = { "host=", "hostaddr=", "port=", "user=", "dbname=",
                                         "sslmode=", NULL };

    for (int i = 0; names[i]; i++) {
        if (n > strlen(names[i]) && strncmp(setting, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

/* Of the settings after '?', show those that tell where it is: the others may be secrets. */
static void put_settings(struct text *t, const char *from)
{
    const char *between = "?";

    for (size_t n; *from && *from != '#'; from += n + (from[n] == '&')) {
        n = strcspn(from, "&#");
        if (!is_harmless(from, n))
            continue;
        put(t, between, 1);
        put(t, from, n);
        between = "&";
    }
}

/* Does it look like "u:a/b@host", "u:a@b@host" or "u/v:a@host", with a user or a password that
 * should have been encoded? A library would take parts of that for a port, a host or a path, and
 * show them in its complaint. */
static bool is_ambiguous(const char *rest)
{
    const char *end = rest + strcspn(rest, "/?#"), *at = memchr(rest, '@', (size_t)(end - rest));
    const char *colon;
    size_t address = *rest ? 1 + strspn(rest + 1, "0123456789abcdefABCDEF:.") : 0;

    if (at && memchr(at + 1, '@', (size_t)(end - at - 1)))
        return true;
    if (*rest == '/')                   /* one too many: the path may be a user, and so on */
        return strchr(rest, '@') && memchr(rest, ':', strcspn(rest, "?#"));
    if (*rest == '[' && rest[address] == ']')
        rest += address;                /* its colons are not before a password */
    colon = memchr(rest, ':', strcspn(rest, "?#"));
    return colon && strchr(colon > end ? colon : end, '@');
}

static void show(struct target *t)
{
    const char *rest = strstr(t->url, "://") + 3, *end = rest + strcspn(rest, "/?#"), *host = end;
    struct text shown = { t->shown, t->shown + sizeof t->shown - 1 };
    struct text place = { t->place, t->place + sizeof t->place - 1 };

    while (host > rest && host[-1] != '@')
        host--;
    put(&shown, t->url, (size_t)(rest - t->url));
    put(&place, t->url, (size_t)(rest - t->url));
    put(&shown, rest, host > rest ? strcspn(rest, ":@") : 0);
    if (host > rest && shown.at[-1] != '/')
        put(&shown, "@", 1);
    put(&shown, host, (size_t)(end - host));
    put(&place, host, (size_t)(end - host));
    put(&shown, end, strcspn(end, "?#"));
    end += strcspn(end, "?#");
    if (*end == '?')
        put_settings(&shown, end + 1);
    term_tame(t->shown);
}

/* Of hosts with commas between them; a port that is left out is fine. */
static bool has_odd_port(const char *hosts)
{
    while (*hosts) {
        size_t n = strcspn(hosts, ","), port = n, digits;

        while (port > 0 && hosts[port - 1] != ':' && hosts[port - 1] != ']')
            port--;
        digits = strspn(hosts + port, "0123456789");
        if (port > 0 && hosts[port - 1] == ':' && port < n &&
            (digits < n - port || digits > 5 || atoi(hosts + port) < 1 ||
             atoi(hosts + port) > 65535))
            return true;
        hosts += n + (hosts[n] == ',');
    }
    return false;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const struct row *find(const char *url, size_t *length)
{
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < SCHEMES; k++) {
            const char *scheme = rows[i].scheme[k];

            *length = scheme ? strlen(scheme) : 0;
            if (scheme && strncmp(url, scheme, *length) == 0)
                return &rows[i];
        }
    }
    return NULL;
}

static void say_schemes(char *why, size_t size, const char *url)
{
    const char *colon = strchr(url, ':');
    size_t n;

    /* Before the colon there is a scheme; or, in a URL without one, a user, who is not shown. */
    if (colon && colon[1] == '/')
        (void)snprintf(why, size, "'%.*s:' is not one of:", (int)(colon - url), url);
    else
        (void)snprintf(why, size, "a URL must begin with one of:");
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < SCHEMES && rows[i].scheme[k]; k++) {
            n = strlen(why);
            (void)snprintf(why + n, size - n, "%s %s", i + k ? "," : "", rows[i].scheme[k]);
        }
    }
}

bool target_read(struct target *t, const char *url, char *why, size_t size)
{
    size_t length = 0;
    const struct row *row = find(url, &length);

    memset(t, 0, sizeof *t);
    if (!row) {
        say_schemes(why, size, url);
        return false;
    }
    if (!row->backend) {
        (void)snprintf(why, size, "this keyedpool was built without its adapter for %s",
                       row->name);
        return false;
    }
    t->name = row->name;
    t->backend = row->backend;
    t->url = url;
    if (url[length] == '\0') {
        (void)snprintf(why, size, "nothing follows %s", url);
        return false;
    }
    if (url[length - 1] == '/') {
        show(t);
        if (!is_ambiguous(url + length) && has_odd_port(t->place + length)) {
            (void)snprintf(why, size, "%s: a port is a number from 1 to 65535", t->shown);
            return false;
        }
        (void)snprintf(why, size, "write '/', '?', '#' in a user or password as %%2F, %%3F, %%23, "
                       "and '@' there and after a path as %%40");
        return !is_ambiguous(url + length);
    }
    (void)snprintf(t->shown, sizeof t->shown, "%s", url);
    term_tame(t->shown);
    return true;
}

const char *target_name(const struct target *t)
{
    return *t->place ? t->place : strchr(t->url, ':') + 1;
}

int64_t target_files(const struct target *t, int64_t keys, int64_t size, int64_t connections)
{
    const struct backend *b = t->backend;
    int64_t used = keys < connections ? keys : connections;     /* at the same time */

    return b->files * connections + used * (b->key_files + b->place_files * size);
}

kp_key target_key(const struct target *t, const char *name, bool write, union key_room *room)
{
    return t->backend->key ? t->backend->key(name, write, room) : kp_str(name);
}

/* ---- contact --------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

bool contact_make(struct contact *c, const struct target *t, const char *name)
{
    kp_why why = { 0 };
    kp_options more = { .name = "keyedpool", .why = &why };
    union key_room room;
    uint64_t began;
    int rc;

    memset(c, 0, sizeof *c);
    rc = t->backend->open(t, 1, &more, &c->pool);
    began = now_ns();
    if (rc == 0)
        rc = kp_get(c->pool, target_key(t, name, false, &room),
                    KP_ASK(.within_ms = t->within_ms, .why = &why, .tag = "keyedpool"), &c->lease);
    if (rc) {
        c->no_place = rc == KP_ECONFIG || (rc == KP_EREFUSED && t->backend->no_place &&
                                           why.vendor_code == t->backend->no_place);
        (void)snprintf(c->why, sizeof c->why, "%s", why.text[0] ? why.text : kp_strerror(rc));
        return false;
    }
    c->connect_ns = now_ns() - began;
    began = now_ns();
    if (t->backend->operate(&c->lease, t, (struct task){ false, ANY }, c->why, sizeof c->why) !=
        DONE) {
        term_tame(c->why);
        return false;
    }
    c->operate_ns = now_ns() - began;
    return true;
}

void contact_leave(struct contact *c)
{
    if (!c->pool)
        return;
    if (c->lease.resource)
        kp_discard(&c->lease);
    (void)kp_pool_close(c->pool, KP_CLOSE_WAIT, KP_SECONDS(5));
    c->pool = NULL;
}
