/* SPDX-License-Identifier: MIT
 *
 * What the model's files use of each other.
 */
#ifndef TESTS_MODEL_MODEL_INSIDE_H
#define TESTS_MODEL_MODEL_INSIDE_H

#include <string.h>

#include "model.h"

#define TALLY(m, k, what, n) ((m)->key[k].tally.what += (n), (m)->tally.what += (n))

/* counting (model_count.c); key NOBODY: all keys */
int64_t m_count(const struct model *m, int key, enum model_state state);
int64_t m_live(const struct model *m, int key);
static inline bool m_is_live(const struct model_slot *s)
{
    return s->state >= M_CREATING && s->state <= M_CLOSING;
}
int64_t m_making(const struct model *m, int key); /* creating, or tested by the keeper */
int64_t m_staying(const struct model *m, int key); /* live, except what is being destroyed */
int64_t m_waiting(const struct model *m, int key);
int m_first_beside(const struct model *m, const struct model_request *r); /* of its line */
void m_join(struct model *m, struct model_request *r); /* it waits in the line that fits it now */
int m_head(const struct model *m, int key); /* the first that waits for more than its own */
int64_t m_lent(const struct model *m, int key); /* what max_lent counts */
int64_t m_promised(const struct model *m, int key);
int64_t m_leases(const struct model *m, int key);
int64_t m_revoked(const struct model *m, int key); /* no longer live, not destroyed yet */
int m_borrowers(const struct model_slot *s);
bool m_may_return(const struct model *m, int key); /* something lent may come back */
int m_oldest_idle(const struct model *m, int key);
int m_newest_idle(const struct model *m, int key);

/* decisions (model.c) */
enum verdict { GO_ON, ANSWERED, LACKS };
enum verdict m_decide(struct model *m, struct model_request *r);
void m_settle(struct model *m, int key);
void m_refuse(struct model *m, int request, int code, const char *limit);
void m_send_away(struct model *m, int request);
void m_refuse_all(struct model *m, int key, int code);
void m_no(struct model_request *r, int code, const char *limit);
bool m_spent(const struct model *m, const struct model_slot *s); /* must not be lent again */
bool m_seat_left(const struct model *m, const struct model_slot *s);
void m_open_seats(struct model *m, int slot); /* others may share it, if there is a seat left */
int m_take_seat(struct model *m, int slot);
bool m_may_take(const struct model *m, enum model_budget budget, int key);
bool m_first_for_token(const struct model *m, int key);
bool m_before(const struct model *m, int a, int b); /* of two requests of a key: is a first? */
bool m_creator_waits(const struct model *m, int key);
bool m_outranked(const struct model *m, enum model_budget budget, int key);
enum verdict m_lacks(struct model_request *r, enum model_budget budget);
void m_settle_budget(struct model *m, enum model_budget budget, int64_t group); /* or 0 */

/* room, groups and victims (model_room.c) */
int64_t m_group(const struct model *m, int key, enum model_budget budget);
bool m_group_is_full(const struct model *m, int key, enum model_budget budget);
int64_t m_group_surplus(const struct model *m, enum model_budget budget, int64_t group);
bool m_groups_exceed(const struct model *m, int key); /* more stay there than may */
bool m_exceeds(const struct model *m, int key);       /* or in the pool */
bool m_has_room(const struct model *m, int key);
void m_settle_groups(struct model *m, const int64_t group[2]); /* 0: none */
enum model_budget m_owed_elsewhere(const struct model *m, int key);
enum verdict m_make_room(struct model *m, struct model_request *r);
void m_promise(struct model *m, struct model_request *r);
void m_waive(struct model *m, int key, int victim); /* no request of the key waits for it */
void m_new_slot(struct model *m, int slot, int key); /* a permit */
void m_inherit(struct model *m, int slot, int heir, int sponsor, bool probe); /* a victim's place */
void m_await_next(struct model *m, int next, int heir, int sponsor, bool probe);

/* control (model_control.c) */
void m_read_budget(struct model *m, const kp_budget *budget);
int64_t m_surplus(const struct model *m); /* how many more stay than the budget allows */
void m_trim_group(struct model *m, enum model_budget budget, int64_t group, bool any);

/* a get (model_calls.c) */
void m_wait_again(struct model *m, struct model_request *r); /* at the place of its stamp */
int m_begin(struct model *m, int key, uint32_t flags, int64_t within_ms, int request);
void m_claim(struct model *m, struct model_request *r);
uint64_t m_end_of(const struct model *m, const struct model_request *r);
void m_look_up(struct model *m, struct model_request *r);
bool m_run(struct model *m, struct model_request *r); /* true: only these two are left to do */
void m_tell(struct model *m, struct model_request *r);
bool m_over(struct model *m, struct model_request *r);
void m_decline(struct model *m, struct model_request *r); /* give back what it was granted */

/* the line of creations (model_rate.c) */
uint64_t m_token_at(const struct model *m, uint64_t now); /* when the next one may begin */
void m_token_take(struct model *m, uint64_t now);
void m_token_back(struct model *m); /* the creation never reached the driver */
uint64_t m_token_look(struct model *m, int key, uint64_t now);
struct model_bucket m_bucket(const struct model *m);
void m_bucket_set(struct model *m, struct model_bucket bucket); /* with the current rate */

/* failures and circuits (model_circuit.c); mark: set for a probe */
void m_remember(const struct model *m, struct model_key *k, int code, bool background);
bool m_breaks(const struct model_rules *rules, uint32_t kind);
bool m_circuit_bars(const struct model *m, int key);
void m_probe(struct model *m, struct model_request *r, bool *mark);
void m_probe_end(struct model *m, const struct model_request *r);
void m_probe_unasked(struct model *m, int key, bool *mark); /* a creation in the background */
bool m_outcome(struct model *m, int key, uint32_t kind, bool ok, bool *mark);
void m_circuit_close(struct model *m, int key);

/* requests that come too late (model_late.c) */
void m_late_begin(struct model *m, int key); /* a request waits where none did */
void m_late_learn(struct model *m, int key); /* a request that waited was granted something */
bool m_is_too_late(const struct model *m, struct model_request *r); /* true: it was answered no */
bool m_seems_too_late(const struct model *m, struct model_request *r);
enum verdict m_shed(struct model *m, struct model_request *r);
void m_shed_learn(struct model *m, const struct model_request *r);

/* event loops (model_loop.c) */
void m_rouse(struct model *m, struct model_request *r);
bool m_posted(struct model *m, int slot); /* its job was posted, not begun */

/* the way back (model_back.c) */
int m_answer(struct model *m, kp_job_kind kind, uint64_t serial); /* runs a driver function */
int m_permit(struct model *m, int key);
void m_created(struct model *m, int slot, struct model_request *r);
void m_create(struct model *m, int key, int slot, int request);
void m_give(struct model *m, int slot, int seat, bool keep, enum model_reason reason);
void m_give_unused(struct model *m, int slot, int seat); /* its borrower was never told of it */
bool m_may_stay(const struct model *m, const struct model_slot *s, enum model_reason *why);
void m_drop_surplus(struct model *m, int slot);
bool m_doom(struct model *m, int slot, enum model_reason reason);
void m_close(struct model *m, int slot, enum model_reason reason);
void m_destroy(struct model *m, int slot);
void m_checked(struct model *m, int slot, int seat, int status);
void m_do(struct model *m); /* destroy what is left to destroy by this call */
/* begin an inner to-do list, e.g. for what follows from one destroy; the outer list waits */
struct model_frame m_open_todo(struct model *m);
void m_close_todo(struct model *m, struct model_frame outer);
void m_count_reason(struct model *m, const struct model_slot *s); /* one is destroyed */

/* leases (model_lease.c) */
int m_lent_after(const struct model *m, int key, uint64_t lent_at); /* the next lent slot */
void m_revoke_all(struct model *m);
bool m_is_nobodys(const struct model_slot *s, const struct model_seat *seat);
void m_file_leases(const struct model *m, struct model_slot *s, uint64_t now);
void m_revoke_due(struct model *m, int slot, uint64_t now);
void m_revoke_ended(struct model *m, int slot, int status);
bool m_give_revoked(struct model *m, int slot, int seat, enum model_reason reason); /* if it was */
void m_reclaimed(struct model *m, int slot, int status);

/* doubts and tests (model_doubt.c) */
void m_take_note(struct model *m, int slot, int status, bool validated); /* of a driver's answer */
void m_peer_gone(struct model *m, int slot);
void m_used_well(struct model *m, int slot);
bool m_is_raced(struct model *m, const struct model_request *r);
uint64_t m_proven(const struct model_slot *s);
uint64_t m_test_at(const struct model *m, const struct model_slot *s);
void m_test_due(struct model *m, int slot, uint64_t now);
void m_test_doubts(struct model *m, int key);
void m_tested(struct model *m, int slot, int status);

/* times and upkeep (model_keep.c) */
uint64_t m_later(uint64_t at, uint64_t by);
uint64_t m_span(int64_t ms); /* FOREVER, if that is more than there is */
void m_set_until(const struct model *m, struct model_slot *s, uint64_t until); /* of its job */
uint64_t m_unused_until(const struct model *m, int slot, uint32_t check);
uint64_t m_expires_at(const struct model *m, int slot, uint32_t check);
bool m_is_too_old(const struct model *m, const struct model_slot *s, uint32_t check);
void m_file_slot(struct model *m, int slot);
void m_file_key(struct model *m, int key, uint64_t at);
void m_file_forget(struct model *m, int key);
int64_t m_wanted(const struct model *m, int key, bool force); /* force: at least one */
void m_want_more(struct model *m, int key);
void m_hold_up(struct model *m, int key);
void m_let_on(struct model *m, uint64_t now);
bool m_keeper_is_late(struct model *m); /* the first time that it is */
void m_forget(struct model *m, int key, uint64_t now); /* if that is allowed */
int64_t m_invalidate_one(struct model *m, int key);
void m_lose_interest(struct model *m, int key, uint64_t used_at);
int m_find(struct model *m, int key, int *code);
int64_t m_lent_bound(const struct model *m);
int64_t m_all_keys(const struct model *m, bool floors); /* the sum of what they are to keep */
bool m_contradicts(const struct model_rules *rules);
bool m_fits(const struct model *m, const struct model_rules *rules, bool every);
int m_next_key(const struct model *m, uint64_t after); /* by places; 0: the first */
int64_t m_ready(const struct model *m, int key, bool force); /* how many are to be there */
uint64_t m_rests_until(const struct model_key *k);
bool m_may_make(const struct model *m, int key, uint64_t now);
void m_forgive(struct model *m, int key);

/* replacements (model_renew.c) */
int64_t m_extra(const struct model *m, int key);
int64_t m_counted(const struct model *m, int key);
bool m_renewal_wanted(const struct model *m, int key);
bool m_is_replaced(const struct model *m, const struct model_slot *s);
bool m_age(struct model *m, int slot, uint64_t now);
void m_age_all(struct model *m, int key, uint64_t now);
void m_aged(struct model *m, struct model_slot *s);
void m_file_age(const struct model *m, struct model_slot *s);
void m_renewed(struct model *m, int slot);
void m_renew(struct model *m, int key, uint64_t now);
bool m_is_old(const struct model *m, const struct model_slot *s);

#endif
