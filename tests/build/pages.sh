#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The C on the pages of docs/coming-from compiles, what they link to exists, and the options that
# they name are those of docs/OPTIONS.md.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fault() {
    echo "$1" >&2
    failed=1
}

for page in docs/coming-from/*.md; do
    name=$(basename "$page" .md)
    grep -o '](\([^)#:]*\))' "$page" | sed 's/](//; s/)//' | while read -r link; do
        [ -e "docs/coming-from/$link" ] || echo "$page: no $link"
    done >"$work/links"
    [ ! -s "$work/links" ] || fault "$(cat "$work/links")"
    [ "$name" != README ] || continue
    {
        echo '#include "pages.h"'
        awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$page"
    } >"$work/$name.c"
    grep -q 'kp_' "$work/$name.c" || fault "$page has no example"
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -Iinclude \
        -Itests/build -fsyntax-only "$work/$name.c" || fault "$page: its example does not compile"
    grep -o '`\(limits\|budget\)\.[a-z_]*' "$page" | tr -d '`' | sort -u | while read -r option; do
        grep -qw -e "${option#*.}" -e "$(echo "${option#*.}" | sed 's/_ms$//')" docs/OPTIONS.md ||
            echo "$page: docs/OPTIONS.md has no $option"
    done >"$work/options"
    [ ! -s "$work/options" ] || fault "$(cat "$work/options")"
done
test "$failed" -eq 0 || exit 1
echo "the pages agree with the library"
