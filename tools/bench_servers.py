#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""64 threads share 8 connections to PostgreSQL, by keyedpool and in other ways: run it, or read
earlier results.

    tools/bench_servers.py [--build FOLDER] [--quick | --blink] [--out FILE] [--markdown]
    tools/bench_servers.py --from FILE [--markdown]

The program starts its own servers. Its lines go to the file, with the date and the machine, and are
printed as a table; docs/SERVERS.md explains it. A bar that is not met is not a failure, because the
machine may be busy. A wrong answer from a server is a failure."""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

from bench import NOISY, ROOT, machine, read, show

BAR = 0.95                              # of what dedicated connections reach; for HELD
HELD = 'keyedpool'
COLUMNS = ('case', 'way', 'ops/s', 'of dedicated', '>= 0.95?', 'p50', 'p99', 'longest', 'fair',
           'idle', 'pool', 'client', 'server', 'share', 'besides')


def run(args):
    program = args.build / 'bench/servers/bench-servers'
    if not program.exists():
        sys.exit(f'bench: there is no {program}')
    arguments = ['--blink'] if args.blink else ['--quick'] if args.quick else []
    done = subprocess.run([program] + arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f'bench: {program.name} ended with {done.returncode}')
    told = {'date': datetime.date.today().isoformat(), 'machine': machine()}
    return [dict(json.loads(line), **told) for line in done.stdout.splitlines()]


def besides(row):
    said = [f'{row["client_switches"]:.1f} switches']
    low, high = row['ratio_quartiles']
    if high - low > 0.1 * row['ratio']:
        said.append(f'ratio {low:.2f} to {high:.2f}')
    if row['foreign_cpus'] > NOISY:
        said.append(f'others {row["foreign_cpus"]:.1f} CPUs')
    return ', '.join(said)


def cells(row):
    held = '-' if row['variant'] != HELD else 'yes' if row['ratio'] >= BAR else 'no'
    cycle = row['connections'] / row['ops'] * 1e6
    idle = f'{100 * row["gap_us"] / cycle:.0f} %' if 'gap_us' in row else '-'
    return [row['case'], row['variant'], f'{row["ops"]:,.0f}', f'{row["ratio"]:.3f}', held,
            f'{row["p50_us"]:,.0f} us', f'{row["p99_us"]:,.0f} us', f'{row["longest_ms"]:.1f} ms',
            f'{row["fairness"]:.2f}', idle, f'{row["pool_cpu_us"]:.1f} us',
            f'{row["client_cpu_us"]:.1f} us', f'{row["server_cpu_us"]:.1f} us',
            f'{100 * row["share"]:.1f} %', besides(row)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build/release')
    parser.add_argument('--out', type=pathlib.Path, default=ROOT / 'build/bench-servers.jsonl')
    parser.add_argument('--quick', action='store_true', help='a short run, less than a minute')
    parser.add_argument('--blink', action='store_true', help='only whether it works')
    parser.add_argument('--from', type=pathlib.Path, dest='given', metavar='FILE',
                        help='run nothing, read this')
    parser.add_argument('--markdown', action='store_true', help='the table for a document')
    args = parser.parse_args()
    rows = read(args.given) if args.given else run(args)
    if not rows:
        sys.exit('bench: there is nothing to show')
    if not args.given:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    show([list(COLUMNS)] + [cells(row) for row in rows], range(2, 14), args.markdown)


if __name__ == '__main__':
    main()
