/* SPDX-License-Identifier: MIT
 *
 * The descriptors of event loops, simulated: a loop that polls its descriptor is a thread that is
 * parked on it. Also the library's thread-local variables, which each simulated thread must have.
 */
#include <limits.h>
#include <string.h>
#include <sys/types.h>

#include "base/mail.h"
#include "engine.h"
#include "flow/here.h"

enum { BELLS = 16, FIRST = 1000 }; /* numbers of descriptors */

static struct {
    uint32_t rung[BELLS];
    int open[BELLS];
} b;

/* ---- thread-local ---------------------------------------------------------------------------- */

static struct {
    struct kp__here here;
    struct kp__mailbox *mail;
} its[EX_THREADS + 1];

void ex_current(int thread)
{
    its[ex.cur].here = kp__here;
    its[ex.cur].mail = kp__mail_mine;
    ex.cur = thread;
    kp__here = its[thread].here;
    kp__mail_mine = its[thread].mail;
}

void ex_current_begin(void)
{
    memset(its, 0, sizeof its);
    memset(&kp__here, 0, sizeof kp__here);
    kp__mail_mine = NULL;
    ex_keep(&b, sizeof b);
    if (!ex.ready) memset(&b, 0, sizeof b);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

int ex_bells_left(void)
{
    int n = 0;

    for (int i = 0; i < BELLS; i++) n += b.open[i];
    return n;
}

int ex_eventfd(unsigned value, int flags);
int ex_eventfd(unsigned value, int flags)
{
    (void)flags;
    for (int i = 0; i < BELLS; i++) {
        if (b.open[i]) continue;
        b.open[i] = 1;
        b.rung[i] = value;
        return FIRST + i;
    }
    return -1;
}

static uint32_t *bell_of(int fd)
{
    if (fd < FIRST || fd >= FIRST + BELLS || !b.open[fd - FIRST])
        ex_fail("descriptor %d is used, and is not open", fd);
    return &b.rung[fd - FIRST];
}

int ex_close(int fd);
int ex_close(int fd)
{
    (void)bell_of(fd);
    b.open[fd - FIRST] = 0;
    return 0;
}

ssize_t ex_write(int fd, const void *from, size_t size);
ssize_t ex_write(int fd, const void *from, size_t size)
{
    uint32_t *bell = bell_of(fd);

    (void)from;
    ex_atomic_store(bell, sizeof *bell, 1, __ATOMIC_SEQ_CST, __builtin_return_address(0));
    ex_world->wake(bell, INT_MAX, NULL);
    return (ssize_t)size;
}

void ex_ring(int fd)
{
    (void)ex_write(fd, NULL, sizeof(uint64_t));
}

ssize_t ex_read(int fd, void *into, size_t size);
ssize_t ex_read(int fd, void *into, size_t size)
{
    uint32_t *bell = bell_of(fd);

    memset(into, 0, size);
    ex_atomic_store(bell, sizeof *bell, 0, __ATOMIC_SEQ_CST, __builtin_return_address(0));
    return (ssize_t)sizeof(uint64_t);
}

void ex_poll(int fd, int64_t ms)
{
    uint64_t until = UINT64_MAX;

    if (ms == 0) return;
    if (ms > 0) until = ex_world->now_ns(NULL) + (uint64_t)ms * 1000000;
    ex_world->park(bell_of(fd), 0, until, NULL);
}
