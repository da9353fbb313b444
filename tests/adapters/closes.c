/* SPDX-License-Identifier: MIT
 *
 * close(), for the tests of adapters: a descriptor that is closed twice ends the program. The
 * second close may be of somebody else's, who got the number meanwhile, and mostly nothing shows
 * it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHES_CLOSE 0                 /* ThreadSanitizer has a close of its own */
#endif
#elif defined(__SANITIZE_THREAD__)
#define WATCHES_CLOSE 0
#endif

#if defined(__linux__) && !defined(WATCHES_CLOSE)
#include <sys/syscall.h>

int close(int fd)
{
    int rc = (int)syscall(SYS_close, fd);

    if (rc == 0 || errno != EBADF || fd < 0)
        return rc;
    (void)fprintf(stderr, "close(%d): it is not open; was it closed twice?\n", fd);
    abort();
}
#endif
