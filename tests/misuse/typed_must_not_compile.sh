#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Compile each case of typed_cases.c (and .cpp): case 0 must compile, every other must not.
# Usage: typed_must_not_compile.sh; CC and CXX say which compilers (CXX empty: leave C++ out).
set -u
here=$(cd "$(dirname "$0")" && pwd)
include=$here/../../include
: "${CC:=cc}" "${CXX=c++}"
cases=0 bad=0

# gcc looks at unused results only where it makes code: so -S, not -fsyntax-only.
c()
{
    $CC -std=c11 -S -o /dev/null -Wall -Wextra -Werror=incompatible-pointer-types \
        -Werror=unused-result -I "$include" -DKP_CASE="$1" "$here/typed_cases.c"
}

cpp()
{
    $CXX -std=c++17 -fno-exceptions -fno-rtti -fsyntax-only -Wall -Wextra -Werror \
        -I "$include" -DKP_CASE="$1" "$here/typed_cases.cpp"
}

check()                                 # language, last case
{
    if ! "$1" 0; then
        echo "FAILED: the right use does not compile ($1)"
        bad=1
    fi
    n=1
    while [ "$n" -le "$2" ]; do
        if "$1" "$n" 2>/dev/null; then
            echo "FAILED: typed_cases.$1, case $n compiles"
            bad=1
        fi
        n=$((n + 1)) cases=$((cases + 1))
    done
}

check c 16
[ -z "$CXX" ] || check cpp 10
[ "$bad" -eq 0 ] && echo "ok: $cases wrong uses do not compile, the right ones do"
exit "$bad"
