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
cd "$out"
"$cc" -I. keyedpool.c app.c -pthread -o app
no_cut=-Wno-format-truncation      # text of fixed size is cut on purpose
"$cc" --version | grep -qi clang && no_cut=
# shellcheck disable=SC2086
"$cc" $no_cut -std=c11 -O2 -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror -c keyedpool.c \
    -o keyedpool.o
./app
