/* SPDX-License-Identifier: MIT
 *
 * Whether a request can be served in the time it has (limits.refuse_late). Two things may tell that
 * it cannot: for certain, that only a creation could help it and none may begin before its
 * deadline; as an estimate, how long those ahead of it will take, from the time between the latest
 * grants.
 */
#ifndef KP__CORE_LATE_H
#define KP__CORE_LATE_H

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__subpool;
struct kp__request;

/* The estimate. It covers only times in which somebody waited. It is smoothed over as many grants
 * as the key has resources, and KP__LATE_LEAST more, and is not used before there were
 * KP__LATE_LEAST. */
enum { KP__LATE_LEAST = 8, KP__LATE_KEPT = 16 };

struct kp__late {
    uint64_t gap;   /* the mean time between two grants */
    uint64_t since; /* the latest grant, or when somebody began to wait */
    uint32_t seen;  /* how many grants are in it, up to as many as it is smoothed over */
};

/* The first request begins to wait. Called for every key, since a key's rules may change while the
 * request waits. What is known of a queue that ended KP__LATE_KEPT gaps ago is dropped: it says
 * nothing about this one. */
void kp__late_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* A request that waited was granted something. */
void kp__late_learn(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* Of a request that would wait: will it be too late for certain, or, behind others, as far as can
 * be told? Then its grant is no, and `hope` says when it might be in time. */
bool kp__is_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now);
bool kp__seems_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now);

/* Can only a creation help it? Yes, if it wants a new one (KP_FRESH), or if nothing of its key is
 * lent, or being tested, that could be lent again afterwards (what is doomed could not). */
bool kp__needs_creation(const struct kp__request *request);

#endif
