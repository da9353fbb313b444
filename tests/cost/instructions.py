#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the instructions of the most frequent paths, so that a change that lengthens one is seen
however busy the machine is: `instructions.py PROGRAM COMPILER`.

callgrind counts what paths.c does inside of measured(). The difference between many times and few,
divided, is exactly one time. Each figure includes the shared library, the loop around the call
(about 20) and the headers' inline functions. A figure above the one written here by more than SLACK
fails; a lower one is reported, and should be written down. The paths: a get and release by a pinned
key; the same with limits over all keys on lent and idle; by 16 bytes; by the bytes of one of 5,000
keys, whose line is not among the first (base/lines.h); the release alone, with 1 key, and with
2,000 and 8,000 others (L8: these two must agree exactly); a release that hands over to a thread; a
whole turn of a loop's request, from the release through its answer to the next start, where nobody
else waits, and behind 14 others; a get and release under the lock; a get that creates, with its
discard; a scope of one lease, and kp_use without a plan, by a pinned key; a get and release by a
key that is new. No cell has a home here (core/home.c): valgrind has no rseq."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

FIGURES = {                             # gcc 12, -O3, x86-64
    'pin': 101, 'bounded': 101, 'key': 129, 'far': 137, 'release': 34, 'release-2000': 34,
    'release-8000': 34, 'thread': 1529, 'loop': 3902, 'line': 3708, 'locked': 2086, 'churn': 3769,
    'scope': 302, 'use': 448, 'new': 4629,
}
MEASURED_WITH = 'GNU-12.'
SLACK, SLACK_ELSEWHERE = 0.02, 0.50     # of another compiler
FEW, MANY = 100, 300
SKIPPED = 77


def counted(program, way, times):
    """The instructions inside of measured(), for so many times."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, 'out')
        done = subprocess.run(
            ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}',
             '--toggle-collect=measured*', program, way, str(times)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f'instructions: {way} ended with {done.returncode}\n{done.stdout}')
        with open(out, encoding='utf-8') as file:
            found = re.search(r'^(?:summary|totals): (\d+)', file.read(), flags=re.M)
    if not found or int(found.group(1)) == 0:
        sys.exit(f'instructions: callgrind counted nothing of {way}\n{done.stdout}')
    return int(found.group(1))


def once(program, way):
    return (counted(program, way, MANY) - counted(program, way, FEW)) / (MANY - FEW)


def taken(program, way, least, most):
    """The instructions of one time. In a slow process a lane's term may end during the count: then
    the median of three counts, because that hardly happens in two of them."""
    first = once(program, way)
    if least <= first <= most:
        return first
    return sorted([first, once(program, way), once(program, way)])[1]


def skip(why):
    print(f'skipped: {why}')
    sys.exit(SKIPPED)


def main():
    program, compiler = sys.argv[1:]
    if not shutil.which('valgrind'):
        skip('there is no valgrind; tools/setup.sh test installs it')
    if platform.machine() != 'x86_64':
        skip(f'the figures are of x86-64, not of {platform.machine()}')
    slack = SLACK if compiler.startswith(MEASURED_WITH) else SLACK_ELSEWHERE
    failed = False
    got = {}
    for way, figure in FIGURES.items():
        least, most = figure * (1 - slack) - 2, figure * (1 + slack) + 2
        got[way] = taken(program, way, least, most)
        said = 'ok'
        if got[way] > most:
            said = f'more than {most:.0f}'
            failed = True
        elif got[way] < least:
            said = 'fewer: write it down'
        print(f'{way:14} {got[way]:9.1f}  written {figure:6}  {said}')
    if got['release-2000'] != got['release-8000']:
        print('the release depends on the number of keys (L8)')
        failed = True
    sys.exit(failed)


if __name__ == '__main__':
    main()
