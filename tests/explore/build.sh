#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the explorer into a folder: the library's own sources, compiled as for ThreadSanitizer but
# linked with the explorer in its place. A few names that the library asks of the C library are
# changed in the object file, and its two lock functions, so that the explorer has them; its
# variables go into a section of their own, so that each execution can begin with them as they were.
#
#   build.sh FOLDER        CC, OBJCOPY; KP_SRC: another src folder; KP_DEFINES: for the library
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$1
src=${KP_SRC:-$root/src}
cc=${CC:-gcc}
objcopy=${OBJCOPY:-objcopy}
mkdir -p "$out"

warn="-Wall -Wextra -Wshadow -Wconversion -Wpedantic -Wno-format-truncation"
base="-std=c11 -D_GNU_SOURCE -DKP_VERIFY=1 -g -fno-pie $warn -I$root/include -I$src"
tsan="-O1 -fno-omit-frame-pointer -fsanitize=thread"
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
    # shellcheck disable=SC2086
    compile "$name" "$file" $tsan ${KP_DEFINES:-}
done
"$objcopy" --redefine-sym kp__lock_take=ex_real_lock_take \
    --redefine-sym kp__lock_give=ex_real_lock_give "$out/lib-base-lock.o"
"$cc" -r -nostdlib -no-pie -o "$out/library.o" "$out"/lib-*.o
renames=
for name in abort fprintf sysconf memset memcpy; do
    renames="$renames --redefine-sym $name=ex_$name"
done
# shellcheck disable=SC2086
"$objcopy" $renames --redefine-sym posix_memalign=ex_memalign \
    --rename-section .bss=kp_bss --rename-section .data=kp_data "$out/library.o"

for name in fiber place memory plain hooks world search reduce trace cast scenarios report main; do
    compile "$name" "$here/$name.c" -O2 -fno-strict-aliasing
done
"$cc" -no-pie -o "$out/explore" "$out/library.o" "$out"/fiber.o "$out"/place.o "$out"/memory.o \
    "$out"/plain.o "$out"/hooks.o "$out"/world.o "$out"/search.o "$out"/reduce.o "$out"/trace.o \
    "$out"/cast.o "$out"/scenarios.o "$out"/report.o "$out"/main.o -pthread
