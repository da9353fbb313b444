/* SPDX-License-Identifier: MIT
 *
 * Text in the reports for machines.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>

/* What is not UTF-8 in it becomes "?": a file may be called anything, a server may say anything,
 * and a buffer may end in the middle of a character. NULL: no memory. */
json_t *json_of(const char *text);

#endif
