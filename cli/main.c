/* SPDX-License-Identifier: MIT
 *
 * The command `keyedpool`: finds the command that was asked for and runs it. It uses nothing of the
 * library but its public headers.
 */
#include "backend.h"
#include "cli.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
#if CLI_SQLITE                          /* the tour runs on SQLite files */
    &demo_command,
#endif
    &bench_command,
    &doctor_command,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i]->page.name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static void help(void)
{
    printf("keyedpool: lends expensive, reusable resources by key\n\n"
           "Usage: keyedpool COMMAND [options]\n\nCommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-10s%s\n", commands[i]->page.name, commands[i]->page.summary);
    printf("  help CMD  show the options of a command\n"
           "\nOptions:\n"
           "  -h, --help     show this help\n"
           "  -V, --version  show the versions of this command and its libraries\n"
           "\nStart with:\n%s"
           "  keyedpool doctor postgres://app@127.0.0.1/app redis://127.0.0.1\n"
           "\nExit status: 0 fine, 1 something failed, 2 a wrong command line or URL, 3 a file\n"
           "or server cannot be opened, 130 interrupted (what was measured is still shown).\n"
           "\nWhat bench can load and doctor look at:\n",
           find("demo") ? "  keyedpool demo\n"
                          "  keyedpool bench sqlite:/tmp/kp/ -k 100 -c 32 --size 8 -z 10s -P 1s\n"
                        : "");
    backends_print("  ");
}

/* The first line, "keyedpool 0.1.0", is the library's. */
static void version(void)
{
    printf("%s", kp_build_info());
    printf("command: %d.%d.%d\n", KP_VERSION_MAJOR, KP_VERSION_MINOR, KP_VERSION_PATCH);
    backends_print("");
}

/* Else the number of standard output, if it is closed, would be given to a file or a connection,
 * and that be told the report. To be read only, so that writing to it fails. */
static void fill_standard_streams(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

int main(int argc, char **argv)
{
    const struct command *command;
    const char *name = argc > 1 ? argv[1] : "";

    fill_standard_streams();
    if (!*name)
        args_fail(NULL, "a command is missing");
    bool helps = strcmp(name, "help") == 0;
    bool tells = strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0;
    if (argc > 2 + helps && (helps || tells))
        args_fail(NULL, "%s: '%s' is one argument too many", name,
                  args_shown(argv[2 + helps]));
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 ||
        (helps && (argc == 2 || strcmp(argv[2], "help") == 0))) {
        help();
        return args_told(EXIT_FINE);
    }
    if (tells) {
        version();
        return args_told(EXIT_FINE);
    }
    if (helps) {
        if (!(command = find(argv[2])))
            args_fail(NULL, "there is no command '%s'", args_shown(argv[2]));
        args_help(&command->page);
        return args_told(EXIT_FINE);
    }
    if (strstr(name, "://"))
        args_fail(NULL, "a command is missing before the URL");
    if (*name == '-')
        args_fail(NULL, "%s is not an option", name);
    if (!(command = find(name)))
        args_fail(NULL, "there is no command '%s'", name);
    return args_told(command->run(argc - 1, argv + 1));
}
