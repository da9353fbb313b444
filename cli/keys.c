/* SPDX-License-Identifier: MIT
 *
 * The keys of a bench on a server: a single one has the server's name, several are called key-000,
 * key-001, ... Files are named by on_sqlite.c.
 */
#include "keys.h"

#include "cli.h"
#include "term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void bench_give_up(const char *what, const char *why)
{
    term_complain("keyedpool bench: %s: %s", what, why);
    exit(EXIT_UNREACHABLE);
}

char *bench_numbered(const char *head, size_t length, int64_t i, int64_t keys, const char *tail)
{
    int digits = keys > 10000 ? 6 : keys > 1000 ? 4 : 3;
    char *name = malloc(length + strlen(tail) + 32), number[24];

    if (!name)
        bench_give_up(head, "out of memory");
    (void)snprintf(number, sizeof number, "-%0*lld", digits, (long long)i);
    memcpy(name, head, length);
    memcpy(name + length, number, strlen(number));
    memcpy(name + length + strlen(number), tail, strlen(tail) + 1);
    return name;
}

void bench_keys_make(struct bench *b)
{
    const struct target *t = &b->plan->target;
    struct contact contact;

    if (t->backend->prepare) {
        t->backend->prepare(b);
        return;
    }
    for (int64_t i = 0; i < b->plan->keys; i++) {
        b->key[i].name = b->plan->keys > 1 ? bench_numbered("key", 3, i, b->plan->keys, "")
                                           : strdup(target_name(t));
        if (!b->key[i].name)
            bench_give_up(t->shown, "out of memory");
    }
    if (!contact_make(&contact, t, b->key[0].name)) {
        if (contact.no_place)
            args_fail(&bench_command.page, "%s: %s", t->shown, contact.why);
        bench_give_up(t->shown, contact.why);
    }
    contact_leave(&contact);
}

void bench_keys_free(struct bench *b)
{
    for (int64_t i = 0; i < b->plan->keys; i++)
        free(b->key[i].name);
}
