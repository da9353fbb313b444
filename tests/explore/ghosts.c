/* SPDX-License-Identifier: MIT
 *
 * The functions of explore.h for scenarios and checks, as the explorer has them.
 */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

int ex_self(void)
{
    return ex.cur;
}

bool ex_is_real(void)
{
    return false;
}

bool ex_alone(int thread)
{
    for (int t = 0; t < ex.threads; t++)
        if (t != thread && !ex.thread[t].daemon && ex.thread[t].state != EX_DONE) return false;
    return true;
}

bool ex_is_live(void)
{
    return ex.live;
}

bool ex_holds_lock(void)
{
    return ex.thread[ex.cur].locks > 0;
}

void ex_up(void *what)
{
    if (ex.live) ex_point(EX_UP, what);
}

void ex_down(void *what)
{
    if (ex.live) ex_point(EX_DOWN, what);
}

void ex_say(uint32_t *flag, uint32_t value)
{
    if (ex.live) ex_point(EX_STORE, flag);
    *flag = value;
}

void ex_publish(uint32_t *flag)
{
    ex_say(flag, 1);
    if (ex.live) ex_release(&ex_place(flag)->view);
}

uint32_t ex_hear(uint32_t *flag)
{
    if (ex.live) ex_point(EX_LOAD, flag);
    return *flag;
}

bool ex_await(const uint32_t *flag)
{
    if (!ex.live) return *flag != 0;
    ex.thread[ex.cur].awaits = flag;
    ex_always(ex_place((void *)(uintptr_t)flag)); /* must be a point: the caller may sleep here */
    ex_point(EX_AWAIT, (void *)(uintptr_t)flag);
    ex_view_join(&ex.thread[ex.cur].view, &ex_place((void *)(uintptr_t)flag)->view);
    return *flag != 0;
}

void ex_overwrite(void *at, size_t size)
{
    if (ex.live && ex.plain) ex_plain(at, size, true, __builtin_return_address(0));
    memset(at, 0xa5, size);
}

void ex_use(void *payload, bool write)
{
    if (!ex_is_looked_after(payload)) abort(); /* or no race on it would be found */
    if (ex.live && ex.plain) ex_plain(payload, 4, write, __builtin_return_address(0));
}

void ex_result(int what)
{
    uint64_t *mine = &ex.thread[ex.cur].result;

    *mine = (*mine ^ (uint64_t)(uint32_t)what) * UINT64_C(1099511628211) + 1;
}

bool ex_claim(uint32_t *flag)
{
    if (ex.live) ex_point(EX_STORE, flag);
    if (*flag) return false;
    *flag = 1;
    return true;
}

int ex_add(int *counter, int by)
{
    return *counter += by;
}
