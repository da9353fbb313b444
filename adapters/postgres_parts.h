/* SPDX-License-Identifier: MIT
 *
 * The two halves of the PostgreSQL adapter: postgres.c drives connections, postgres_words.c has the
 * options, settings and reasons.
 */
#ifndef ADAPTERS_POSTGRES_PARTS_H
#define ADAPTERS_POSTGRES_PARTS_H

#include "keyedpool_postgres.h"

/* The driver (postgres.c). Its ctx is `o`, a copy of the options with strings of its own. */
kp_driver kp__pg_driver(kp_pg_options *o);

/* What a statement changed, by its result: KP_PG_LEFT_LISTEN, _SETTING, or 0; and the SQLSTATE of
 * a server's last word, which ends the session, or 0. */
uint32_t kp__pg_change_of(PGresult *result);
int kp__pg_end_of(const PGresult *result);

/* Begin to connect with the settings of the job's key. 0, or the answer to the job. */
int kp__pg_connect_begin(const kp_pg_options *o, kp_job *job, PGconn **out);

/* ---- reasons: each returns the answer to the job --------------------------------------------- */

int kp__pg_fail_connect(kp_job *job, PGconn *conn);
int kp__pg_fail_lost(kp_job *job, PGconn *conn, int ended);    /* kp__pg_end_of, if it said so */
int kp__pg_fail_late(kp_job *job, const PGconn *conn, bool connecting);
int kp__pg_fail_left(kp_job *job, const char *what);
int kp__pg_fail_memory(kp_job *job);
int kp__pg_fail_unwatched(kp_job *job, int rc);
int kp__pg_fail_unwanted(kp_job *job);

/* 0 if the result is a good one. */
int kp__pg_fail_result(kp_job *job, PGconn *conn, const PGresult *result);

#endif
