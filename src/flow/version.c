/* SPDX-License-Identifier: MIT
 *
 * What the library says of itself: its version, and how it was built.
 */
#include "base/world.h"
#include "keyedpool.h"

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
