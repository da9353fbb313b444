#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does `make bench-servers` work? A blink of it: every way that can be gone here answers both
questions, with the figures that docs/SERVERS.md names, and is in the table. The answers themselves,
their sums and the connections are checked by the program. Speed is not looked at.
`bench_servers.py FOLDER` of the build."""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CASES = ('postgres.select_1', 'postgres.sleep_1ms')
WAYS = ('dedicated', 'keyedpool', 'eventual', 'keyedpool_8', 'by_hand', 'by_hand_fifo', 'by_turns',
        'pgbouncer')


def table(arguments):
    return subprocess.run([sys.executable, ROOT / 'tools/bench_servers.py'] + arguments,
                          stdout=subprocess.PIPE, text=True, check=True).stdout


def wrong_with(rows):
    page = (ROOT / 'docs/SERVERS.md').read_text()
    there = {(row['case'], row['variant']) for row in rows}
    wrong = [f'{case} has no {way}' for case in CASES for way in WAYS if (case, way) not in there]
    wrong += [f'{field} is not in docs/SERVERS.md' for field in sorted({f for r in rows for f in r})
              if f'`{field}`' not in page]
    for row in rows:
        wrong += [f'{row["case"]} {row["variant"]}: {field} is {row[field]}'
                  for field in ('ops', 'ratio', 'p50_us', 'client_cpu_us') if not row[field] > 0]
        if row['variant'] == 'dedicated' and row['ratio'] != 1:
            wrong.append('dedicated connections are not what they are compared with')
    return wrong


def main():
    with tempfile.TemporaryDirectory() as place:
        given = pathlib.Path(place) / 'servers.jsonl'
        said = table(['--blink', '--build', sys.argv[1], '--out', given])
        rows = [json.loads(line) for line in given.read_text().splitlines()]
        wrong = wrong_with(rows)
        if table(['--from', given]) != said:
            wrong.append('the table is another one when the file is read')
    print('\n'.join(wrong) or f'{len(rows)} lines')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
