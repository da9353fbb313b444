/* SPDX-License-Identifier: MIT
 *
 * What the handles of an HTTP pool share: names and TLS sessions (http_share.h).
 */
#include "http_share.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct kp__share {
    pid_t           pid;                /* of its process: in a child its locks may be held */
    CURLSH         *handle;
    pthread_mutex_t lock[CURL_LOCK_DATA_LAST];
};

static void lock_share(CURL *easy, curl_lock_data what, curl_lock_access access, void *share)
{
    (void)easy;
    (void)access;
    (void)pthread_mutex_lock(&((struct kp__share *)share)->lock[what]);
}

static void unlock_share(CURL *easy, curl_lock_data what, void *share)
{
    (void)easy;
    (void)pthread_mutex_unlock(&((struct kp__share *)share)->lock[what]);
}

void kp__share_drop(struct kp__share *s)
{
    if (!s || s->pid != getpid())
        return;
    (void)curl_share_cleanup(s->handle);
    for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
        (void)pthread_mutex_destroy(&s->lock[i]);
    free(s);
}

struct kp__share *kp__share_make(void)
{
    struct kp__share *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->handle = curl_share_init();
    if (!s->handle) {
        free(s);
        return NULL;
    }
    s->pid = getpid();
    for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
        (void)pthread_mutex_init(&s->lock[i], NULL);
    (void)curl_share_setopt(s->handle, CURLSHOPT_LOCKFUNC, lock_share);
    (void)curl_share_setopt(s->handle, CURLSHOPT_UNLOCKFUNC, unlock_share);
    (void)curl_share_setopt(s->handle, CURLSHOPT_USERDATA, s);
    (void)curl_share_setopt(s->handle, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(s->handle, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    return s;
}

CURLSH *kp__share_here(struct kp__share **share)
{
    struct kp__share *now = __atomic_load_n(share, __ATOMIC_ACQUIRE), *made;

    if (now->pid == getpid())
        return now->handle;
    made = kp__share_make();
    if (!made)
        return NULL;                    /* this handle shares nothing */
    if (__atomic_compare_exchange_n(share, &now, made, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return made->handle;
    kp__share_drop(made);
    return now->handle;
}
