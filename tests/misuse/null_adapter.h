/* SPDX-License-Identifier: MIT
 *
 * What all adapters have in common, handed NULL (R4).
 */
#ifndef TESTS_MISUSE_NULL_ADAPTER_H
#define TESTS_MISUSE_NULL_ADAPTER_H

#include "keyedpool_watch.h"
#include "misuse/null.h"

static int listen_to_misuse(void **state)
{
    (void)state;
    kp_on_misuse(count_orphan, NULL);
    return 0;
}

/* A watcher that was never opened has no functions. */
static kp_why why_not;
static kp_watcher no_watcher;
static kp_options on_loop = { .why = &why_not, .loop = (kp_loop *)(void *)&why_not };

static inline void must_refuse_no_watcher(int answer)
{
    (void)no_watcher, (void)on_loop;
    must_be(KP_ECONFIG, answer);
    must_have_told(0);
    assert_non_null(strstr(why_not.field, ".watcher"));
    assert_non_null(strstr(why_not.text, "start"));
}

/* kp_x_fill, kp_x_open, kp_x_counts_read. Their own options may be NULL, and so may `more`. */
#define MUST_BEAR_NULL(fill, open, counts_read, counts)                                            \
    do {                                                                                           \
        kp_pool *opened_ = (kp_pool *)&opened_;                                                    \
        kp_options empty_ = { 0 };                                                                 \
        counts read_;                                                                              \
        MISUSE(fill, NULL, NULL);                                                                  \
        ANSWER(0, fill, NULL, &empty_);                                                            \
        empty_.driver.drop_ctx(empty_.driver.ctx);                                                 \
        MISUSE(open, NULL, NULL, NULL);                                                            \
        ANSWER(0, open, NULL, NULL, &opened_);                                                     \
        assert_int_equal(kp_pool_close(opened_, KP_CLOSE_NOW, 0), 0);                              \
        memset(&read_, 1, sizeof read_);                                                           \
        begin(#counts_read);                                                                       \
        read_ = counts_read(NULL);                                                                 \
        must_have_told(0);                                                                         \
        assert_memory_equal(&read_, &(counts){ 0 }, sizeof read_);                                 \
    } while (0)

#endif
