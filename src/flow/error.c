/* SPDX-License-Identifier: MIT
 *
 * What the library says of itself: its error table, its version, how it was built.
 */
#include "base/world.h"
#include "keyedpool.h"

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

bool kp_retry_any(int status, void *arg)
{
    (void)arg;
    return status < 0;
}

bool kp_retry_helps(int status, void *arg)
{
    (void)arg;
    return kp_error_find(status)->retry != KP_RETRY_NEVER;
}

int kp_version(void)
{
    return KP_VERSION;
}

/* ---- build info ----------------------------------------------------------------------------- */

#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x

#ifndef __has_feature
#    define __has_feature(x) 0
#endif

#if KP__FUTEX
#    define PARKING "futex"
#else
#    define PARKING "mutexes"
#endif

#if KP_VERIFY
#    define VERIFY "on"
#else
#    define VERIFY "off"
#endif

#if defined(__clang__)
#    define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#    define COMPILER "gcc " __VERSION__
#else
#    define COMPILER "unknown"
#endif

/* No macro tells of UBSan in both compilers. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#    define SANITIZER "address"
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#    define SANITIZER "thread"
#else
#    define SANITIZER "none"
#endif

const char *kp_build_info(void)
{
    return "keyedpool " TEXT(KP_VERSION_MAJOR) "." TEXT(KP_VERSION_MINOR) "." TEXT(
               KP_VERSION_PATCH) "\n"
           "parking: " PARKING "\n"
           "checks of the laws: " VERIFY "\n"
           "compiler: " COMPILER "\n"
           "sanitizer: " SANITIZER "\n";
}
