/* SPDX-License-Identifier: MIT
 *
 * The error table: what each code is called, and what it says in words.
 */
#include "keyedpool/words.h"

static const kp_error errors[] = {
#define X(name, number, sentence, retry) { number, retry, #name, sentence },
    KP_ERROR_MAP(X)
#undef X
};

static const kp_error success = { 0, KP_RETRY_NEVER, "0", "success" };

static const kp_error foreign = {
    0, KP_RETRY_NEVER, "unknown",
    "not an error of keyedpool: it came from the driver or your function"
};

const kp_error *kp_error_find(int code)
{
    if (code == 0) return &success;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return &errors[i];
    return &foreign;
}
