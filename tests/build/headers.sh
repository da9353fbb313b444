#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every public header must compile alone, in C11 and C++17, with every compiler that is here, and
# without a warning; and those of src/core and src/flow in C11. So must every example in C, as one
# who copies it compiles it: none of the build's own flags and macros are there.
#
# shellcheck disable=SC2086 # $vendors are words
set -eu
cd "$(dirname "$0")/../.."

compilers=${CC:-cc}
for other in gcc clang; do
    if command -v "$other" >/dev/null 2>&1; then
        compilers="$compilers $other"
    fi
done

# On Debian libpq's are in a folder of their own.
vendors=$(pkg-config --cflags-only-I libpq 2>/dev/null || true)

check() {   # header language standard [flag]
    for compiler in $compilers; do
        printf '#include "%s"\n#include "%s"\n' "$1" "$1" |
            "$compiler" -x "$2" "-std=$3" -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror \
                -Iinclude $vendors ${4:+"$4"} -fsyntax-only - ||
            { echo "$1 as $3 by $compiler" >&2; exit 1; }
    done
}

for header in include/*.h include/keyedpool/*.h; do
    name=${header#include/}
    # A header of an adapter needs its vendor's, which need not be here.
    if ! grep '^#include <' "$header" | "${CC:-cc}" -x c $vendors -fsyntax-only - 2>/dev/null; then
        echo "$name: left out, its vendor's header is not here"
        continue
    fi
    check "$name" c c11
    if command -v c++ >/dev/null 2>&1; then
        check "$name" c++ c++17
    fi
done
# What KP_DEFINE makes is compiled as the program's own, by flags like those for PostgreSQL's
# extensions, too.
for compiler in $compilers; do
    printf '#include <keyedpool.h>\nKP_DEFINE(db, kp_lease, kp_pool);\n' |
        "$compiler" -x c -std=c11 -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror \
            -Wdeclaration-after-statement -Wmissing-prototypes -Iinclude -fsyntax-only - ||
        { echo "KP_DEFINE by $compiler" >&2; exit 1; }
done
for header in src/core/*.h src/flow/*.h; do
    check "${header#src/}" c c11 -Isrc
done
for header in include/*.hpp; do
    if [ ! -e "$header" ] || ! command -v c++ >/dev/null 2>&1; then
        continue
    fi
    printf '#include "%s"\n' "${header#include/}" |
        c++ -x c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fno-exceptions -fno-rtti \
            -Iinclude -fsyntax-only -
done
for example in examples/*.c; do
    if ! grep '^#include <' "$example" |
            "${CC:-cc}" -x c -Iinclude $vendors -fsyntax-only - 2>/dev/null; then
        echo "$example: left out, a vendor's header is not here"
        continue
    fi
    for compiler in $compilers; do
        "$compiler" -std=c11 -Wall -Wextra -Werror -Iinclude $vendors -fsyntax-only "$example" ||
            { echo "$example as c11 by $compiler" >&2; exit 1; }
    done
done
echo "every header compiles alone, and every example"
