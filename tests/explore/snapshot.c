/* SPDX-License-Identifier: MIT
 *
 * Each execution begins where set-up ended. What set-up left is copied once. Of the memory that it
 * allocated, only pages that some execution has written to are put back; to find them, all pages
 * are write-protected first.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

enum { PIECES = 12 };

static struct piece {
    char *at, *copy;
    size_t size, room;
} pieces[PIECES], library[3];

static int count;
static struct piece arena, lasting; /* lasting: what ex_room gave, as set-up left it */
static bool *hot;
static size_t page;

extern char __start_kp_bss[] __attribute__((weak)), __stop_kp_bss[] __attribute__((weak));
extern char __start_kp_data[] __attribute__((weak)), __stop_kp_data[] __attribute__((weak));

static void copy_of(struct piece *p)
{
    if (p->size > p->room) {
        p->copy = realloc(p->copy, p->size);
        p->room = p->size;
        if (!p->copy) abort();
    }
    if (p->size) memcpy(p->copy, p->at, p->size);
}

static void put_back(const struct piece *p)
{
    if (p->size) memcpy(p->at, p->copy, p->size);
}

void ex_keep(void *at, size_t size)
{
    for (int i = 0; i < count; i++)
        if (pieces[i].at == at) return;
    if (count == PIECES) abort();
    pieces[count++] = (struct piece){ .at = at, .size = size };
}

/* ---- the library as it is after a first pool came and went ----------------------------------- */

void ex_library_keep(void)
{
    library[0].at = __start_kp_bss;
    library[0].size = (size_t)(__stop_kp_bss - __start_kp_bss);
    library[1].at = __start_kp_data;
    library[1].size = (size_t)(__stop_kp_data - __start_kp_data);
    library[2].at = ex_lasting(&library[2].size);
    for (int i = 0; i < 3; i++) copy_of(&library[i]);
    ex_keep(library[0].at, library[0].size);
    ex_keep(library[1].at, library[1].size);
}

void ex_library_restore(void)
{
    for (int i = 0; i < 3; i++) put_back(&library[i]);
    ex_lasting_cut(library[2].size);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void protect(bool on)
{
    if (arena.size && mprotect(arena.at, arena.size, on ? PROT_READ : PROT_READ | PROT_WRITE) != 0)
        abort();
}

static void written(int sig, siginfo_t *info, void *context)
{
    size_t offset = (size_t)((char *)info->si_addr - arena.at);

    (void)context;
    if (offset >= arena.size || hot[offset / page]) {
        signal(sig, SIG_DFL); /* not ours: it happens again and ends the program */
        return;
    }
    hot[offset / page] = true;
    if (mprotect(arena.at + offset / page * page, page, PROT_READ | PROT_WRITE) != 0) abort();
}

static void watch_pages(void)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK };
    stack_t stack = { .ss_size = 1 << 16 };

    page = (size_t)sysconf(_SC_PAGESIZE);
    stack.ss_sp = malloc(stack.ss_size);
    action.sa_sigaction = written;
    if (!stack.ss_sp || sigaltstack(&stack, NULL) != 0 || sigaction(SIGSEGV, &action, NULL) != 0 ||
        sigaction(SIGBUS, &action, NULL) != 0)
        abort();
}

/* ---- all of it ------------------------------------------------------------------------------- */

void ex_snapshot_forget(void)
{
    protect(false);
    arena.size = 0;
}

void ex_snapshot_take(void)
{
    size_t used, all;

    if (!page) watch_pages();
    for (int i = 0; i < count; i++) copy_of(&pieces[i]);
    lasting.at = ex_lasting(&lasting.size);
    copy_of(&lasting);
    arena.at = ex_arena_of(EX_THREADS, &all);
    used = ex_arena_used();
    arena.size = (used + page - 1) / page * page;
    copy_of(&arena);
    hot = realloc(hot, arena.size / page + 1);
    if (!hot) abort();
    memset(hot, 0, arena.size / page + 1);
    protect(true);
}

void ex_snapshot_restore(void)
{
    for (int i = 0; i < count; i++) put_back(&pieces[i]);
    put_back(&lasting);
    ex_lasting_cut(lasting.size);
    for (size_t i = 0; i < arena.size / page; i++)
        if (hot[i]) memcpy(arena.at + i * page, arena.copy + i * page, page);
}
