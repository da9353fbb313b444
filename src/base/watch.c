/* SPDX-License-Identifier: MIT
 *
 * Watching descriptors, by epoll. errno belongs to the caller.
 */
#include "base/watch.h"

#include <errno.h>
#include <unistd.h>

#include "base/cancel.h"

#if KP__WATCHES
#include <sys/epoll.h>

int kp__watch_open(void)
{
    int saved = errno, set = epoll_create1(EPOLL_CLOEXEC);

    errno = saved;
    return set;
}

static bool control(int set, int how, int fd, uint64_t name)
{
    struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = name };
    int saved = errno, result = epoll_ctl(set, how, fd, &event);

    errno = saved;
    return result == 0;
}

/* Once more, if it is in the set: a resource before this one left it open. */
bool kp__watch_add(int set, int fd, uint64_t name)
{
    return control(set, EPOLL_CTL_ADD, fd, name) || control(set, EPOLL_CTL_MOD, fd, name);
}

int kp__watch_look(int set, uint64_t *names, int most)
{
    struct epoll_event events[64];
    int saved = errno, cancel = kp__cancel_hold();
    int many = epoll_wait(set, events, most < 64 ? most : 64, 0);

    kp__cancel_free(cancel);
    errno = saved;
    for (int i = 0; i < many; i++) names[i] = events[i].data.u64;
    return many < 0 ? 0 : many;
}
#else
int kp__watch_open(void)
{
    return -1;
}

bool kp__watch_add(int set, int fd, uint64_t name)
{
    return (void)set, (void)fd, (void)name, false;
}

int kp__watch_look(int set, uint64_t *names, int most)
{
    return (void)set, (void)names, (void)most, 0;
}
#endif

void kp__watch_close(int set)
{
    int saved = errno, cancel = kp__cancel_hold();

    if (set >= 0) (void)close(set);
    kp__cancel_free(cancel);
    errno = saved;
}
