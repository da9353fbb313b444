#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the explorer into a folder: the library's own sources, compiled as for ThreadSanitizer but
# linked with the explorer in its place. In the object file a few functions of the C library, and
# the library's two lock functions, are renamed, so that the explorer provides them. The library's
# variables go into a section of their own, so that each execution can begin with their old values.
#
#   build.sh FOLDER        CC, OBJCOPY; KP_SRC: another src folder; KP_DEFINES: for the library;
#                          EX_DEFINES: for the explorer (-DEX_PORTABLE=1: fibers by ucontext)
#   build.sh FOLDER real   the same scenarios on real threads, under ThreadSanitizer, instead
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$1
src=${KP_SRC:-$root/src}
cc=${CC:-gcc}
objcopy=${OBJCOPY:-objcopy}
mkdir -p "$out"

warn="-Wall -Wextra -Wshadow -Wconversion -Wpedantic"
case $("$cc" --version) in
*clang*) ;;
*) warn="$warn -Wno-format-truncation" ;;
esac
# Lines and guides begin small, because all memory is put back before each execution. Words that may
# have a home get it soon. Threads that sleep look for a deadlock once.
small="-DKP__LINES_FIRST=16 -DKP__GUIDE_LEAST=0 -DKP__SEEKS=2 -DKP__HOME_PRICE=1"
once="-DKP__LOOKS_AGAIN=UINT64_MAX"
base="-std=c11 -D_GNU_SOURCE -DKP_VERIFY=1 $small $once -g -fno-pie $warn -I$root/include -I$src"
tsan="-O1 -fno-omit-frame-pointer -fno-builtin -fsanitize=thread"
if [ "${2:-}" = real ]; then
    # shellcheck disable=SC2086
    "$cc" $base -O1 -fsanitize=thread -pthread -no-pie -o "$out/explore-real" "$src"/base/*.c \
        "$src"/core/*.c "$src"/flow/*.c "$here/cast.c" "$here/cast_keys.c" "$here/cast_loop.c" \
        "$here/scenarios.c" "$here/hard.c" "$here/control.c" "$here/rotated.c" \
        "$here/circuits.c" "$here/doubts.c" "$here/asked.c" "$here/homes.c" "$here/revoke.c" \
        "$here/groups.c" "$here/litmus.c" "$here/real.c"
    exit
fi

tsan="$tsan -DKP__LOCK_INLINE=__attribute__((weak))"    # functions, so that they can be replaced
base="$base -DKP__SEQUENCES=0 -DKP__SEQUENCES_PLAYED"   # processors.c simulates them
case $("$cc" --version) in
*clang*) tsan="$tsan -mllvm -tsan-instrument-func-entry-exit=0" ;;
*) tsan="$tsan --param tsan-instrument-func-entry-exit=0" ;;
esac

compile() {     # object source flags...
    object=$1 source=$2
    shift 2
    # shellcheck disable=SC2086
    "$cc" $base "$@" -c "$source" -o "$out/$object.o"
}

for file in "$src"/base/*.c "$src"/core/*.c "$src"/flow/*.c; do
    name=lib-$(basename "$(dirname "$file")")-$(basename "$file" .c)
    how=$tsan
    case $name in lib-core-verify) how=-O1 ;; esac      # it only reads, with the lock held
    # shellcheck disable=SC2086
    compile "$name" "$file" $how ${KP_DEFINES:-}
done
"$objcopy" --redefine-sym kp__lock_take=ex_real_lock_take \
    --redefine-sym kp__lock_give=ex_real_lock_give "$out/lib-base-lock.o"
"$cc" -r -nostdlib -no-pie -o "$out/library.o" "$out"/lib-*.o
locks="--redefine-sym kp__lock_take=ex_lock_take --redefine-sym kp__lock_give=ex_lock_give"
renames=$locks
for name in abort fprintf sysconf getenv memset memcpy eventfd read write close; do
    renames="$renames --redefine-sym $name=ex_$name"
done
# shellcheck disable=SC2086
"$objcopy" $renames --redefine-sym posix_memalign=ex_memalign \
    --rename-section .bss=kp_bss --rename-section .data=kp_data "$out/library.o"

objects=
for name in fiber place memory plain snapshot hooks world processors ghosts bells search reduce \
    trace cast cast_keys cast_loop scenarios hard control rotated circuits doubts asked homes \
    groups revoke litmus report main; do
    how="-O2 -fno-strict-aliasing ${EX_DEFINES:-}"
    case $name in litmus) how=$tsan ;; esac
    # shellcheck disable=SC2086
    compile "$name" "$here/$name.c" $how
    # shellcheck disable=SC2086
    case $name in
    litmus) "$objcopy" $locks --rename-section .bss=kp_bss "$out/$name.o" ;;
    cast) "$objcopy" --rename-section .bss=kp_bss "$out/$name.o" ;; # for ex_use (plain.c)
    esac
    objects="$objects $out/$name.o"
done
# shellcheck disable=SC2086
"$cc" -no-pie -o "$out/explore" "$out/library.o" $objects -pthread
