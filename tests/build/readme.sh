#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What the documents say of the code must be so: the example of README.md is examples/readme.c, word
# for word; ERRORS.md and STATS.md have the tables of the headers; tests and functions that are
# named exist, each function in a file that its line links to.
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
fault() {
    echo "$1" >&2
    failed=1
}

# ---- the example -----------------------------------------------------------------------------

awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' README.md >"$work/shown"
awk 'after { print } /^ \*\/$/ { after = 1 }' examples/readme.c >"$work/program"
test -s "$work/shown" || fault "README.md has no example in C"
cmp "$work/shown" "$work/program" || fault "README.md and examples/readme.c differ"

# ---- tables ----------------------------------------------------------------------------------

{ tr -d '\\\n' <include/keyedpool/words.h; echo; } | sed 's/X(KP_E/\n&/g' |
    sed -n 's/^X(\(KP_E[A-Z]*\), *\(-[0-9]*\), *"\([^"]*\)".*/| `\1` | \2 | \3 |/p' >"$work/errors"
{ tr -d '\\\n' <include/keyedpool/stats.h; echo; } | sed 's/X([a-z_]*, [a-z]*, */\n&/g' |
    sed -n 's/^X(\([a-z_]*\), [a-z]*, *"\([^"]*\)").*/| `\1` | \2 |/p' >"$work/stats"
{ tr -d '\\\n' <include/keyedpool/options.h; echo; } | sed 's/X([A-Z_]*, [a-z]*, "/\n&/g' |
    sed -n 's/^X(\([A-Z_]*\), \([a-z]*\), "\([^"]*\)").*/| `\1` | `\2` | \3 |/p' >"$work/causes"
test "$(wc -l <"$work/errors")" -ge 12 || fault "the error table of words.h was not understood"
test "$(wc -l <"$work/stats")" -ge 28 || fault "the counters of stats.h were not understood"
while read -r row; do
    grep -qF -- "$row" docs/ERRORS.md || fault "docs/ERRORS.md lacks: $row"
done <"$work/errors"
while read -r row; do
    grep -qF -- "$row" docs/STATS.md || fault "docs/STATS.md lacks: $row"
done <"$work/stats"
test "$(wc -l <"$work/causes")" -ge 18 || fault "the causes of options.h were not understood"
while read -r row; do
    grep -qF -- "$row" docs/STATS.md || fault "docs/STATS.md lacks: $row"
done <"$work/causes"

# ---- names -----------------------------------------------------------------------------------

find tests -name '*.[ch]' -exec cat {} + | tr -cs 'A-Za-z0-9_' '\n' | sort -u >"$work/words"
for page in README.md docs/*.md docs/decisions/*.md; do
    grep -o '`[a-z0-9_]*_must_[a-z0-9_]*`' "$page" | tr -d '`' | sort -u | while read -r name; do
        grep -qx "$name" "$work/words" || echo "$page names the test $name, which does not exist"
    done
done >"$work/missing"

# A link to a source, and names in `backquotes`, in one line: each name is in one of the sources.
for page in README.md docs/PATH.md docs/INVARIANTS.md docs/ERRORS.md; do
    grep -n '](\(\.\./\)*\(src\|include\)/[^)]*\.[ch])' "$page" | while read -r line; do
        files=$(echo "$line" | grep -o '](\(\.\./\)*\(src\|include\)/[^)]*\.[ch])' |
                    sed 's/](\(\.\.\/\)*//; s/)$//')
        for name in $(echo "$line" | grep -o '`[a-z_][a-z0-9_]*`' | tr -d '`'); do
            case $name in
                *_must_*|validate_on|retry_after_ms|vendor_code|field|text) continue ;;
                limits_for|max_live|max_waiting|breaker_failures|refuse_late|sharing) continue ;;
                kp_pool_open|kp_limits_set|kp_limits_read|kp_stats_read|kp_options_set) continue ;;
                kp_add|kp_try_get|kp_pool_close|kp_retry_now) continue ;;
            esac
            # shellcheck disable=SC2086
            grep -qw "$name" $files || echo "$page: $name is not in $files"
        done
    done
done >>"$work/missing"
if [ -s "$work/missing" ]; then
    cat "$work/missing" >&2
    failed=1
fi
test "$failed" -eq 0 || exit 1
echo "the documents agree with the code"
