/* SPDX-License-Identifier: MIT
 *
 * Text in the reports for machines.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>

/* null for what is not UTF-8: a file may be called anything, and a server may say anything. Text
 * that a buffer had no room for ends with its last whole character. */
json_t *json_of(const char *text);

#endif
