/* SPDX-License-Identifier: MIT
 *
 * What a key of the Redis adapter stands for: redis://user:password@host:port/db, host:port, /path.
 */
#include "redis_parts.h"

#include <stdlib.h>
#include <string.h>

#define PORT_DEFAULT "6379"

/* ---- keys ------------------------------------------------------------------------------------ */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decode percent-encoded text. False: it is too long, or not such text. */
static bool decode(const char *from, const char *end, char *to, size_t size)
{
    size_t n = 0;

    for (; from < end; from++) {
        char c = *from;

        if (c == '%') {
            if (end - from < 3 || hex(from[1]) < 0 || hex(from[2]) < 0)
                return false;
            c = (char)(hex(from[1]) * 16 + hex(from[2]));
            from += 2;
        }
        if (n + 1 >= size || c == '\0')
            return false;
        to[n++] = c;
    }
    to[n] = '\0';
    return true;
}

static bool read_db(const char *text, int32_t *db)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || n > INT32_MAX)
        return false;
    *db = (int32_t)n;
    return true;
}

/* What comes after redis://. An @ in a password is written %40; what follows a bare one would be
 * looked up as a host, and shown in reports. */
static const char *read_url(const char *text, struct kp__redis_target *to)
{
    const char *slash, *at, *colon;

    slash = text + strcspn(text, "/");
    at = memchr(text, '@', (size_t)(slash - text));
    if (at) {
        colon = memchr(text, ':', (size_t)(at - text));
        if (!decode(text, colon ? colon : at, to->user, sizeof to->user) ||
            (colon && !decode(colon + 1, at, to->password, sizeof to->password)))
            return "its user or password is too long, or badly encoded";
        if (to->user[0] && !to->password[0])
            return "a user needs a password";
        text = at + 1;
        if (memchr(text, '@', (size_t)(slash - text)))
            return "an @ in its password must be written %40";
    }
    if (text[strcspn(text, "?#")])
        return "it has a ? or #, and what follows means nothing here: leave that out";
    if (*slash && slash[1] && !read_db(slash + 1, &to->db))
        return "its database is not a number";
    return kp__place_read(text, (size_t)(slash - text), PORT_DEFAULT, &to->place);
}

const char *kp__redis_url_read(const char *text, size_t size, struct kp__redis_target *to)
{
    if (size >= 9 && strncmp(text, "rediss://", 9) == 0)
        return "this adapter does not support TLS";
    if (size >= 8 && strncmp(text, "redis://", 8) == 0)
        return memchr(text, '\0', size) ? "it has a NUL in it" : read_url(text + 8, to);
    return kp__place_read(text, size, PORT_DEFAULT, &to->place);
}
