/* SPDX-License-Identifier: MIT
 *
 * For tests of the command on files: a folder that goes when the tests end, and the URL of all
 * databases in it.
 */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "cli/run.h"

static char folder[] = "/tmp/keyedpool-cli-XXXXXX", folder_url[64];

static inline int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(folder_url, sizeof folder_url, "sqlite:%s", folder);
    return 0;
}

static inline int folder_remove(void **state)
{
    char command[64];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

#endif
