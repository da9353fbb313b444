/* SPDX-License-Identifier: MIT
 *
 * Opening a stream socket within a deadline, with the reason in one sentence if that fails: what
 * the adapters for sockets and for Redis share.
 */
#ifndef KP_ADAPTERS_DIAL_H
#define KP_ADAPTERS_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a peer listens: a path, or a host and a port. */
struct kp__place {
    char host[256], port[6];
    char path[108];                     /* "": a host and a port */
};

struct kp__fault {
    int  code;                          /* an errno; EAI_... if a name does not resolve */
    char text[256];                     /* the place last: kp_why.text is cut at its end */
};

/* Read "host:port", "[v6]:port" or "/path". `port` is the one to take if the text says none; NULL:
 * the text must. Returns NULL, or what is wrong with it. */
const char *kp__place_read(const char *text, size_t size, const char *port, struct kp__place *out);

/* For sentences. */
void kp__place_text(const struct kp__place *place, char *buf, size_t size);

/* Connect: a blocking socket, closed on exec; or -1 and why not. Every address that the name has is
 * tried. The name is resolved on a thread of its own, for getaddrinfo knows no deadline. */
int kp__dial(const struct kp__place *place, int64_t until_ns, struct kp__fault *fault);

/* The same without waiting, for a non-blocking socket. */
struct kp__dial {
    const struct kp__place *place;      /* stays there meanwhile */
    int64_t          until_ns, turn_ns; /* deadline of all, and of what is waited for now */
    int              fd;                /* at the end: the socket, or -1 and the fault */
    struct kp__fault fault;
    struct kp__lookup *lookup;
    struct addrinfo *all, *next;        /* next: the first that was not tried yet */
    int              rest;              /* how many were not tried yet */
};

/* Begin, and go on when kp__dial_fd is ready (or its turn is over). Each returns what to poll it
 * for, or 0: it is over. */
int  kp__dial_begin(struct kp__dial *d, const struct kp__place *place, int64_t until_ns);
int  kp__dial_go_on(struct kp__dial *d, bool ready);
int  kp__dial_fd(const struct kp__dial *d);
void kp__dial_end(struct kp__dial *d);  /* before it is over */

/* TCP_NODELAY, and keep-alive probes after so many seconds (0: none). 0, or an errno. */
int kp__tcp_set(int fd, bool nodelay, int idle_s, int every_s, int probes);

/* Put a code into a sentence that says what it mostly means. Returns -1. */
int kp__fault_say(struct kp__fault *fault, const struct kp__place *place, int code);

/* Does this errno say that the other side is gone, and not that something took too long here? */
bool kp__is_gone(int code);

/* Would the next borrower see something? 0: nothing has come and nothing has ended. 1: bytes are
 * there that nobody read. Negative: an errno (the other side ended: ECONNRESET). Asks the kernel,
 * not the peer. */
int kp__peek(int fd);

#endif
