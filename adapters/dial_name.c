/* SPDX-License-Identifier: MIT
 *
 * The addresses of a host (dial_name.h), looked up by a thread that is left behind if the deadline
 * comes first; it frees what it found by itself.
 */
#include "dial_name.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Shared by the thread that asks and the one that resolves; the last of them frees it. */
struct kp__lookup {
    pthread_mutex_t  lock;
    int              pipe[2];           /* a byte in it says: done */
    bool             done, left;        /* resolved; nobody waits for it any more */
    int              code, number;      /* getaddrinfo's; errno, if that is EAI_SYSTEM */
    struct kp__place place;
    struct addrinfo *found;
};

static void no_address(struct kp__fault *fault, const struct kp__place *place, int code)
{
    const char *what = code == EAI_NONAME ? "the host is unknown"
                                          : "the host could not be looked up";

    fault->code = code;
    (void)snprintf(fault->text, sizeof fault->text, "%s, %s (%d): %s", what, gai_strerror(code),
                   code, place->host);
}

static int ask(const struct kp__place *place, int flags, struct addrinfo **found)
{
    struct addrinfo hints = { 0 };

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    *found = NULL;
    return getaddrinfo(place->host, place->port, &hints, found);
}

static void lookup_free(struct kp__lookup *l)
{
    (void)pthread_mutex_destroy(&l->lock);
    (void)close(l->pipe[0]);
    (void)close(l->pipe[1]);
    free(l);
}

static void *resolve(void *arg)
{
    struct kp__lookup *l = arg;
    bool left;

    l->code = ask(&l->place, 0, &l->found);
    l->number = errno;
    (void)pthread_mutex_lock(&l->lock);
    l->done = true;
    left = l->left;
    (void)!write(l->pipe[1], "", 1);    /* there is room for one */
    (void)pthread_mutex_unlock(&l->lock);
    if (left) {
        if (l->found)
            freeaddrinfo(l->found);
        lookup_free(l);
    }
    return NULL;
}

/* Start the thread, with all signals blocked. */
static int start(struct kp__lookup *l)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int rc;

    (void)sigfillset(&all);
    rc = pthread_attr_init(&attr);
    if (rc)
        return rc;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attr, resolve, l);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return rc;
}

struct addrinfo *kp__numeric(const struct kp__place *place)
{
    struct addrinfo *found;

    return ask(place, AI_NUMERICHOST, &found) == 0 ? found : NULL;
}

struct kp__lookup *kp__lookup_begin(const struct kp__place *place)
{
    struct kp__lookup *l = calloc(1, sizeof *l);
    int rc = !l || pipe2(l->pipe, O_CLOEXEC) != 0 ? errno : 0;

    if (rc) {
        free(l);
        errno = rc;
        return NULL;
    }
    l->place = *place;
    (void)pthread_mutex_init(&l->lock, NULL);
    rc = start(l);
    if (rc == 0)
        return l;
    lookup_free(l);
    errno = rc;
    return NULL;
}

int kp__lookup_fd(const struct kp__lookup *l)
{
    return l->pipe[0];
}

static struct addrinfo *take(struct kp__lookup *l, const struct kp__place *place,
                             struct kp__fault *fault)
{
    struct addrinfo *found = l->found;

    if (l->code == EAI_SYSTEM)
        (void)kp__fault_say(fault, place, l->number);
    else if (l->code)
        no_address(fault, place, l->code);
    lookup_free(l);
    return found;
}

struct addrinfo *kp__lookup_end(struct kp__lookup *l, bool ready, const struct kp__place *place,
                                struct kp__fault *fault)
{
    bool done;

    (void)pthread_mutex_lock(&l->lock);
    done = l->done;
    l->left = !done;
    (void)pthread_mutex_unlock(&l->lock);
    if (ready && done)
        return take(l, place, fault);
    fault->code = ETIMEDOUT;
    (void)snprintf(fault->text, sizeof fault->text,
                   "the host could not be looked up within the time (%d): %s", ETIMEDOUT,
                   place->host);
    if (done && l->found)
        freeaddrinfo(l->found);
    if (done)
        lookup_free(l);
    return NULL;
}
