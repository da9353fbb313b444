#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Do the benchmarks work? Each case runs for a blink and must print, for each variant, a line of
JSON with the fields that docs/PERFORMANCE.md promises; then the table and the drawing are made of
those lines. Speed is not looked at. `benches.py FOLDER`, which has the programs."""

import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tools'))

from bench_bars import CASES, PEER, complaints  # noqa: E402 (found by the line above)

WITHOUT_PEER = {'pending.1m'}


def lines_of(program):
    done = subprocess.run([program, '--blink'], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong_with(case, rows):
    """What must not be, in words."""
    wrong = [f'{case}: {w}' for row in rows for w in complaints(row)]
    if {row.get('case') for row in rows} != {case}:
        wrong.append(f'{case}: says it is another case, or nothing')
    variants = [row.get('variant') for row in rows]
    hits = {'portable'} if case.startswith(('hit.', 'parallel.')) else set()
    if sorted(set(variants) - {'rseq', 'no rseq'}) != sorted({'locked'} | hits) or \
            len(variants) != 2 + len(hits):
        wrong.append(f'{case}: its variants are {variants}')
    return wrong


def main():
    folder = pathlib.Path(sys.argv[1])
    wrong, rows, peers = [], [], set()
    for case in CASES:
        fresh = lines_of(folder / ('bench-' + case.replace('.', '_')))
        wrong += wrong_with(case, fresh)
        peers |= {case for row in fresh if PEER in row['peer']}
        rows += fresh
    if peers and peers != set(CASES) - WITHOUT_PEER:
        wrong.append(f'{PEER} is only in {sorted(peers)}')
    refused = subprocess.run([folder / 'bench-churn', '--nonsense'], stderr=subprocess.DEVNULL)
    if refused.returncode != 2:
        wrong.append('an argument that is none is taken')
    with tempfile.TemporaryDirectory() as place:
        given, drawn = pathlib.Path(place) / 'bench.jsonl', pathlib.Path(place) / 'bench.svg'
        given.write_text(''.join(json.dumps(row) + '\n' for row in rows))
        table = subprocess.run(
            [sys.executable, ROOT / 'tools/bench.py', '--from', given, '--draw', drawn],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        wrong += [f'{case}: not in the table' for case in CASES if case not in table]
        said = ''.join(xml.etree.ElementTree.parse(drawn).getroot().itertext())
        wrong += [f'{case}: not in the drawing' for case in CASES if case not in said]
    print('\n'.join(wrong) or f'{len(rows)} lines of {len(CASES)} cases')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
