#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run the benchmarks, or read earlier results: a table with the bars, a file, a drawing.

    tools/bench.py [--build FOLDER] [--quick] [--only PATTERN]... [--out FILE] [--draw FILE]
    tools/bench.py --from FILE [--draw FILE] [--markdown]

Each case of bench/ is a program that prints one line of JSON for each variant. The lines go to the
file, with the date and the machine; with --only, lines of other cases in it stay as they are. Other
programs in bench/ answer other questions and print in their own way; they run last, and not with
--quick. docs/PERFORMANCE.md explains the table. A bar that is not met is not a failure, because the
machine may be busy; the test that finds regressions whatever the noise is tests/cost."""

import argparse
import datetime
import fnmatch
import json
import pathlib
import platform
import subprocess
import sys

from bench_bars import CASES, PEER, bars_of, complaints, of
from bench_draw import draw

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOISY = 0.15                            # processors that other processes used meanwhile


def machine():
    """The processor's name, and how many of them."""
    name = platform.machine()
    try:
        for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                name = line.split(':', 1)[1].strip()
                break
        count = len([p for p in pathlib.Path('/sys/devices/system/cpu').glob('cpu[0-9]*')])
    except OSError:
        count = 0
    return f'{name}, {count} CPUs' if count else name


def ask(program, arguments, case):
    """The rows that a program prints. Exits if one is wrong."""
    done = subprocess.run([program] + arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f'bench: {program.name} ended with {done.returncode}')
    rows = []
    for line in done.stdout.splitlines():
        try:
            row = json.loads(line)
        except ValueError as error:
            sys.exit(f'bench: {program.name}: no JSON ({error}): {line}')
        wrong = complaints(row) or ([] if row['case'] == case else [f'case: {row["case"]}'])
        if wrong:
            sys.exit(f'bench: {program.name}: {"; ".join(wrong)}')
        rows.append(row)
    if not rows:
        sys.exit(f'bench: {program.name} said nothing')
    return rows


def read(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def order(row):
    return list(CASES).index(row['case']), row['variant']


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in sorted(rows, key=order)))


# ---- the table -----------------------------------------------------------------------------------

def figure(ns, kind):
    """A time, or how many such operations there are in a second."""
    if ns is None:
        return '-'
    if kind == 'ns':
        return f'{ns:.2f} ns' if ns < 10 else f'{ns:.1f} ns' if ns < 1000 else f'{ns:.0f} ns'
    ops = 1e9 / ns if ns else 0
    return f'{ops / 1e6:.1f} M/s' if ops >= 1e6 else f'{ops / 1e3:.0f} k/s'


def notes(row):
    """The other figures of a row, in short."""
    said = []
    for field, form in (('fairness', 'fair {:.2f}'), ('max_wait_ms', 'wait {:.1f} ms'),
                        ('bytes', '{:.0f} B'), ('bytes_again', 'again {:.0f} B'),
                        ('ns_calls', 'two calls {:.2f} ns'), ('ns_least', 'least {:.1f} ns'),
                        ('ns_untouched', 'untouched {:.0f} ns'), ('ns_1_key', '1 key {:.2f} ns'),
                        ('ns_random', 'random {:.1f} ns'), ('ns_100k', 'a tenth {:.1f} ns'),
                        ('ns_keys', 'keys {:.1f} ns'), ('peer_fairness', 'apr fair {:.2f}'),
                        ('peer_max_wait_ms', 'apr wait {:.1f} ms'), ('peer_bytes', 'apr {:.0f} B')):
        if field in row:
            said.append(form.format(row[field]))
    for field in ('keys', 'requests', 'resources'):
        if row.get(field, 1000000) != 1000000:
            said.append(f'only {row[field]:,.0f} {field}')
    low, high = row['ns_quartiles']
    if row['ns'] and (high - low) / row['ns'] > 0.1:
        said.append(f'spread {100 * (high - low) / row["ns"]:.0f} %')
    if row['foreign_cpus'] > NOISY:
        said.append(f'others {row["foreign_cpus"]:.1f} CPUs')
    return ', '.join(said)


def cells(row):
    kind = CASES[row['case']][0]
    bars = bars_of(row)
    held = [{True: 'yes', False: 'no', None: '?'}[b.held(row)] for b in bars]
    return [row['case'], row['variant'], figure(row['ns'], kind),
            figure(row['limit_ns'], 'ops' if 'limit_ops' in row else 'ns'),
            f'{row["ratio"]:.2f}' if row['ratio'] < 100 else f'{row["ratio"]:.0f}',
            ', '.join(b.says for b in bars) or '-', ', '.join(held) or '-',
            figure(of(row, 'peer'), kind), notes(row)]


def show(lines, right, markdown):
    """The first line is the head; `right` are the columns of numbers."""
    if markdown:
        rule = ['---:' if i in right else '---' for i in range(len(lines[0]))]
        for line in lines[:1] + [rule] + lines[1:]:
            print('| ' + ' | '.join(line) + ' |')
        return
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        aligned = [c.rjust(w) if i in right else c.ljust(w)
                   for i, (c, w) in enumerate(zip(line, widths))]
        print('  '.join(aligned).rstrip())


def table(rows, markdown):
    lines = [['case', 'variant', 'ours', 'P', 'ratio', 'bar', 'held?', 'apr', 'besides']]
    lines += [cells(r) for r in sorted(rows, key=order)]
    show(lines, (2, 3, 4, 7), markdown)


# ---- what to do ----------------------------------------------------------------------------------

def run(args):
    """The rows of all cases that were chosen."""
    folder = args.build / 'bench'
    arguments = ['--blink'] if args.blink else ['--quick'] if args.quick else []
    told = {'date': datetime.date.today().isoformat(), 'machine': machine()}
    rows = []
    for case in CASES:
        if args.only and not any(fnmatch.fnmatch(case, p) for p in args.only):
            continue
        program = folder / ('bench-' + case.replace('.', '_'))
        if not program.exists():
            sys.exit(f'bench: there is no {program}')
        print(f'{case} ...', file=sys.stderr)
        rows += [dict(row, **told) for row in ask(program, arguments, case)]
    if not rows:
        sys.exit('bench: no such case; there are: ' + ', '.join(CASES))
    return rows


def others(args):
    """Runs the programs that are not cases."""
    known = {'bench-' + case.replace('.', '_') for case in CASES}
    for program in sorted((args.build / 'bench').glob('bench-*')):
        if program.name not in known and program.suffix == '':
            print(f'\n{program.name.removeprefix("bench-")}:', flush=True)
            subprocess.run([program], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build/release')
    parser.add_argument('--out', type=pathlib.Path, default=ROOT / 'build/bench.jsonl')
    parser.add_argument('--only', action='append', metavar='PATTERN', help='hit.*, say')
    parser.add_argument('--quick', action='store_true', help='a short run, less than a minute')
    parser.add_argument('--blink', action='store_true', help='only whether they work')
    parser.add_argument('--draw', type=pathlib.Path, metavar='FILE', help='an SVG')
    parser.add_argument('--from', type=pathlib.Path, dest='given', metavar='FILE',
                        help='run nothing, read this')
    parser.add_argument('--markdown', action='store_true', help='the table for a document')
    args = parser.parse_args()
    if args.given:
        rows = read(args.given)
        if not rows:
            sys.exit(f'bench: there is nothing in {args.given}')
    else:
        rows = run(args)
        fresh = {r['case'] for r in rows}
        kept = [r for r in read(args.out) if r['case'] not in fresh] if args.only else []
        write(args.out, kept + rows)
    table(rows, args.markdown)
    if args.draw:
        args.draw.write_text(draw(sorted(rows, key=order)))
    if not args.given and not args.only and not args.quick and not args.blink:
        others(args)


if __name__ == '__main__':
    main()
