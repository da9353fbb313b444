#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages that a make target lacks: tools/setup.sh [build] [install] [test]
# [lint] [bench] [coverage] [mutate] [portability].
# It asks for a package only if the command or header in it is missing. So if nothing is missing,
# nothing is installed and the network is not used.
set -eu

missing=""

need_command() {    # command package
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need_header() {     # C source that includes it, package
    if ! command -v cc >/dev/null 2>&1; then
        # No compiler to try it with: look where the package would put the header.
        [ -e "/usr/include/$3" ] || missing="$missing $2"
    elif ! printf '%s\n' "$1" | cc -E -x c -o /dev/null - 2>/dev/null; then
        missing="$missing $2"
    fi
}

need_build() {
    need_command cmake cmake
    need_command cc gcc
    need_command ninja ninja-build
    need_header '#include <stdio.h>' libc6-dev stdio.h
    need_header '#include <sqlite3.h>' libsqlite3-dev sqlite3.h
    need_header '#include <jansson.h>' libjansson-dev jansson.h
    need_header '#include <postgresql/libpq-fe.h>' libpq-dev postgresql/libpq-fe.h
    need_header '#include <curl/curl.h>' libcurl4-openssl-dev curl/curl.h
    need_header '#include <hiredis/hiredis.h>' libhiredis-dev hiredis/hiredis.h
    need_command pkg-config pkg-config
}

need_install() {
    need_command scdoc scdoc
    need_command python3 python3
}

need_apr() {
    # pkg-config itself may be missing
    pkg-config --exists apr-util-1 2>/dev/null || missing="$missing libaprutil1-dev"
}

need_bouncer() {    # /usr/sbin is not in every user's PATH
    [ -x /usr/sbin/pgbouncer ] || missing="$missing pgbouncer"
}

need_test() {
    need_command c++ g++
    python3 -c 'import shutil, subprocess, tempfile' 2>/dev/null || missing="$missing python3"
    need_command pkg-config pkg-config
    need_header '#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>' libcmocka-dev cmocka.h
    need_command valgrind valgrind
    need_command openssl openssl
    need_command groff groff-base
    need_header '#include <uv.h>' libuv1-dev uv.h
    need_header '#include <event2/event.h>' libevent-dev event2/event.h
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
    need_command redis-server redis-server
    need_apr
    need_bouncer
}

need_bench() {
    need_apr
    need_bouncer
}

need_lint() {
    python3 -c 'import shutil, subprocess, tempfile' 2>/dev/null || missing="$missing python3"
    need_command nm binutils
    need_command clang-format clang-format
}

need_coverage() {
    need_command clang++-19 clang-19
    need_command llvm-cov-19 llvm-19
    if ! command -v clang-19 >/dev/null 2>&1 ||
       ! ls "$(clang-19 -print-resource-dir)"/lib/*/libclang_rt.profile*.a >/dev/null 2>&1; then
        missing="$missing libclang-rt-19-dev"
    fi
}

need_portability() {
    need_command dpkg-source dpkg-dev
    need_command xz xz-utils
    need_command musl-gcc musl-tools
    need_command i686-linux-gnu-gcc gcc-i686-linux-gnu
    need_command aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
    need_command s390x-linux-gnu-gcc gcc-s390x-linux-gnu
    need_command qemu-s390x-static qemu-user-static
    need_command qemu-system-aarch64 qemu-system-arm
    need_command cpio cpio
    [ -e /usr/i686-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-i386-cross"
    [ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-arm64-cross"
    [ -e /usr/s390x-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-s390x-cross"
}

need_mutate() {
    python3 -c 'import concurrent.futures' 2>/dev/null || missing="$missing python3"
}

for group in "${@:-build}"; do
    case $group in
    build | install | test | lint | bench | coverage | mutate | portability) "need_$group" ;;
    *) echo "tools/setup.sh: no such group: $group; its first lines name them" >&2; exit 2 ;;
    esac
done
[ -n "$missing" ] || exit 0

# The same package may be listed twice.
# shellcheck disable=SC2086
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: missing: $missing" >&2
    echo "setup: there is no apt-get here; install what these Debian packages contain." >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: missing: $missing" >&2
        echo "setup: run as root (there is no sudo here): apt-get install $missing" >&2
        exit 1
    fi
    as_root="sudo"
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

echo "setup: installing $missing"
# The package lists may be absent or old; they are fetched only if the first try fails.
# shellcheck disable=SC2086
if ! apt install --no-install-recommends $missing 2>/dev/null; then
    echo "setup: fetching the package lists"
    apt update
    apt install --no-install-recommends $missing || {
        echo "setup: could not install: $missing" >&2
        exit 1
    }
fi
