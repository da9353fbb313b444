/* SPDX-License-Identifier: MIT
 *
 * Whether a request can be served in the time it has (limits.refuse_late). Two things are known:
 * for certain, that nothing could help it but a creation, and none may begin so soon; and as an
 * estimate, how long those ahead of it will take, from the time between the latest grants.
 */
#ifndef KP__CORE_LATE_H
#define KP__CORE_LATE_H

#include <stdbool.h>
#include <stdint.h>

struct kp__core;
struct kp__subpool;
struct kp__request;

/* The estimate. It is of times in which somebody waited, smoothed over as many grants as there are
 * resources and KP__LATE_LEAST more, and means nothing before there were so many. */
enum { KP__LATE_LEAST = 8, KP__LATE_KEPT = 16 };

struct kp__late {
    uint64_t gap;   /* between two grants */
    uint64_t since; /* the latest, or when somebody began to wait */
    uint32_t seen;  /* so many are in it */
};

/* The first one begins to wait, of any key: it may have other rules before he is served. What is
 * known of a queue that ended KP__LATE_KEPT gaps ago says nothing of this one. */
void kp__late_begin(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* One that waited was granted something. */
void kp__late_learn(struct kp__core *core, struct kp__subpool *sub, uint64_t now);

/* Of one that would wait: will it be too late for certain, or, behind others, as far as can be
 * told? Then its grant is no, and `again` is when it may be worth trying. */
bool kp__is_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now);
bool kp__seems_too_late(const struct kp__core *core, struct kp__request *request, uint64_t now);

/* Can nothing but a creation help it? Then nothing is lent of its key that may come back to it:
 * what is fresh never does, what is doomed never will. */
bool kp__needs_creation(const struct kp__request *request);

#endif
