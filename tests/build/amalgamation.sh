#!/bin/sh
# SPDX-License-Identifier: MIT
#
# keyedpool.c and keyedpool.h must be all that a program needs: cc -I. keyedpool.c app.c
# -pthread, as nobody would dare to write it in a build file, and as the strictest would.
set -eu
cd "$(dirname "$0")/../.."

out=${1:?folder}
cc=${CC:-cc}
python3 tools/amalgamate.py --out "$out"
cp examples/hello.c "$out/app.c"
cp include/keyedpool.hpp include/keyedpool_watch.h include/keyedpool_epoll.h "$out"
cp examples/raii.cpp examples/own_driver.c "$out"
cd "$out"
"$cc" -I. keyedpool.c app.c -pthread -o app
no_cut=-Wno-format-truncation      # text of fixed size is cut on purpose
"$cc" --version | grep -qi clang && no_cut=
# shellcheck disable=SC2086
"$cc" $no_cut -std=c11 -O2 -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror -c keyedpool.c \
    -o keyedpool.o
./app

echo "== the headers for C++ and event loops beside it"
"$cc" -I. own_driver.c keyedpool.o -pthread -o own_driver
./own_driver
if command -v c++ >/dev/null 2>&1; then
    c++ -std=c++17 -I. raii.cpp keyedpool.o -pthread -o raii
    ./raii
fi

# A module that is loaded later may have a copy of its own, besides the program's.
cat >host.c <<'END'
#include <dlfcn.h>
#include <stdio.h>

#include "keyedpool.h"

int main(int argc, char **argv)
{
    void *module = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    int (*run)(void) = module ? (int (*)(void))dlsym(module, "run") : NULL;

    if (!run) return puts(module ? "no run" : dlerror()), 1;
    return kp_is_pool(module) || run();
}
END
for compiler in "$cc" musl-gcc; do
    command -v "$compiler" >/dev/null 2>&1 || continue
    echo "== a module, by $compiler"
    "$compiler" -O2 -fPIC -DKP_API= -fvisibility=hidden -c keyedpool.c -o inside.o
    "$compiler" -O2 -fPIC -shared -Dmain=run -I. app.c inside.o -pthread -o ./module.so
    "$compiler" -I. -rdynamic keyedpool.c host.c -pthread -ldl -o host
    if nm -D ./module.so | grep ' kp_'; then
        echo "the module would share these with a program that exports its own" >&2
        exit 1
    fi
    ./host ./module.so
done
