#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The table of hard cases in docs/TESTING.md against what there is: each title in it is of a
# scenario of the explorer, and each file has tests by the number of its case; and nothing that the
# explorer has is missing. Reads the explorer's list:
#
#   explore --list --group hard | tests/build/hard_cases.sh
set -eu
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed 's/: .*//' | sort -u >"$work/explored"
grep '^| H[0-9]* |' docs/TESTING.md >"$work/table" || true
grep -o '`H[0-9]* [^`]*`' "$work/table" | tr -d '`' | sort -u >"$work/told" || true

test "$(sed 's/^| \(H[0-9]*\) .*/\1/' "$work/table" | sort -u | wc -l)" -eq 25 || {
    echo "docs/TESTING.md: the table of hard cases does not have all 25"
} >>"$work/faults"
{
    comm -13 "$work/explored" "$work/told" | sed 's/^/not explored, but in the table: /'
    comm -23 "$work/explored" "$work/told" | sed 's/^/explored, but not in the table: /'
} >>"$work/faults"
while IFS='|' read -r _ case titles files; do
    case=$(echo "$case" | tr -d ' ')
    echo "$titles" | grep -o '`H[0-9]*' | tr -d '`' | grep -vx "$case" |
        sed "s/^/in the row of $case: /" >>"$work/faults" || true
    echo "$files" | grep -o '`[a-z0-9_/]*\.c`' | tr -d '`' >"$work/files" || true
    test -s "$work/files" || echo "$case has no tests" >>"$work/faults"
    while read -r file; do
        grep -q "^static void ${case}_" "tests/$file" ||
            echo "no test of tests/$file is named ${case}_"
    done <"$work/files" >>"$work/faults"
done <"$work/table"
if [ -s "$work/faults" ]; then
    cat "$work/faults" >&2
    exit 1
fi
echo "$(wc -l <"$work/explored") explored titles of hard cases, and the table agrees"
