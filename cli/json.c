/* SPDX-License-Identifier: MIT
 *
 * Text in the reports for machines (json.h).
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

/* How many bytes the character there has; 0: it is none. */
static size_t character(const char *at)
{
    for (size_t n = 1; n <= 4 && at[n - 1]; n++) {
        json_t *one = json_stringn(at, n);

        json_decref(one);
        if (one)
            return n;
    }
    return 0;
}

json_t *json_of(const char *text)
{
    json_t *json = json_string(text);
    char *clean = json ? NULL : strdup(text);

    for (char *at = clean; at && *at; at++) {
        size_t n = character(at);

        if (n == 0)
            *at = '?';
        else
            at += n - 1;
    }
    if (clean)
        json = json_string(clean);
    free(clean);
    return json;
}
