/* SPDX-License-Identifier: MIT
 *
 * Text in the reports for machines (json.h).
 */
#include "json.h"

#include <string.h>

json_t *json_of(const char *text)
{
    size_t n = strlen(text);
    json_t *json = json_stringn(text, n);

    for (int cut = 1; !json && cut <= 3 && n > 0; cut++)        /* of a character's four bytes */
        json = json_stringn(text, --n);
    return json ? json : json_null();
}
