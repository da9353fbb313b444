#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Coverage of src/core and src/flow by all tests, as a gate: lines and branches 100 %, and in
src/core every condition of every decision shown to matter by itself (MC/DC, as llvm-cov counts it).

    tools/coverage.py [--build FOLDER] [--no-run] [--details FILE] [-j N]

It configures and builds the preset `coverage` (clang-19, KP_VERIFY off), runs every test of CTest
once, prints a table by file and each line, branch and condition that nothing reached, and exits
with 1 if a bar is not met. Code that cannot be reached is marked where it stands, with a reason:

    if (left < 0) left = 0; /* cover: never, because the heap's count is checked above */

A mark applies to its own line or, if it stands alone on a line, to the next one: whatever begins
there is not counted. Marks are listed and counted. One that is not needed is reported, but is not a
failure, because it may be about a race."""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARK = re.compile(r'/\* cover: never, because (.+?) \*/')
LINES, BRANCHES, CONDITIONS = 'lines', 'branches', 'MC/DC'
BARS = {'src/core': (LINES, BRANCHES, CONDITIONS), 'src/flow': (LINES, BRANCHES)}


def llvm(name):
    for found in (name + '-19', name):
        if shutil.which(found):
            return found
    sys.exit(f'coverage: there is no {name}-19; tools/setup.sh coverage installs it')


def measure(build, jobs):
    """Build, run every test once, and merge what they counted. False: a test failed."""
    raw = build / 'profiles'
    shutil.rmtree(raw, ignore_errors=True)
    subprocess.run(['tools/configure.sh', 'coverage'], cwd=ROOT, check=True)
    subprocess.run(['cmake', '--build', build, '-j', str(jobs)], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    # %p: a child after fork, or a program that a test runs again, counts into its own file
    env = dict(os.environ, LLVM_PROFILE_FILE=str(raw / '%m-%p.profraw'))
    done = subprocess.run(['ctest', '--test-dir', build, '-j', str(jobs), '--output-on-failure',
                           '--no-tests=error'], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        passed = re.compile(r' *Start +\d+: |.* Passed +[\d.]+ sec$')
        print('\n'.join(t for t in done.stdout.splitlines() if not passed.match(t)))
    listing = build / 'profiles.txt'
    listing.write_text(''.join(f'{p}\n' for p in sorted(raw.glob('*.profraw'))))
    subprocess.run([llvm('llvm-profdata'), 'merge', '-sparse', '--failure-mode=all', '-o',
                    build / 'coverage.profdata', '-f', listing], check=True)
    return done.returncode == 0


def uncounted(build):
    """Decisions whose conditions the compiler cannot tell apart. It warns of them only when it
    compiles, so the files are compiled once more to get the warnings."""
    warnings = []
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        path = pathlib.Path(entry['file'])
        if path.is_relative_to(ROOT) and CONDITIONS in BARS.get(
                path.relative_to(ROOT).parent.as_posix(), ()):
            command = re.sub(r' -o \S+', ' -o /dev/null', entry['command'])
            done = subprocess.run(command, shell=True, cwd=entry['directory'], check=True,
                                  stderr=subprocess.PIPE, text=True)
            warnings += [line for line in done.stderr.splitlines() if 'MC/DC' in line]
    return warnings


def export(build, kind):
    """What llvm-cov reports for our sources, over all test programs."""
    # not every program that lies there: one whose test was removed has older line numbers
    tests = subprocess.run(['ctest', '--test-dir', build, '--show-only=json-v1'], cwd=ROOT,
                           check=True, stdout=subprocess.PIPE, text=True).stdout
    programs = {pathlib.Path(word) for test in json.loads(tests)['tests']
                for word in test.get('command', [])[:1]}
    programs = sorted(p for p in programs if p.is_relative_to(build.resolve()))
    command = [llvm('llvm-cov'), 'export', f'-format={kind}', '-instr-profile',
               build / 'coverage.profdata', programs[0]]
    for program in programs[1:]:
        command += ['-object', program]
    command += [ROOT / folder for folder in BARS]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class File:
    """One source file: what is to be covered, by line, and what was covered."""

    def __init__(self, path):
        self.path = path
        self.source = (ROOT / path).read_text().splitlines()
        self.marks, self.used = {}, set()
        for number, text in enumerate(self.source, 1):
            found = MARK.search(text)
            if found:
                alone = text.strip() == found.group(0)
                self.marks[number + 1 if alone else number] = found.group(1)
        # place -> was it covered? A function compiled several times (inline) counts once
        self.seen = {LINES: {}, BRANCHES: {}, CONDITIONS: {}}

    def add(self, kind, place, covered):
        self.seen[kind][place] = self.seen[kind].get(place, False) or covered

    def result(self, kind):
        """How many were covered, how many there are, and the gaps."""
        gaps, total = [], 0
        for place, covered in sorted(self.seen[kind].items()):
            line = place[0]
            if line in self.marks:
                if not covered:
                    self.used.add(line)
                continue
            total += 1
            if not covered:
                gaps.append(place)
        return total - len(gaps), total, gaps


def read_lines(text, files):
    file = None
    for record in text.splitlines():
        if record.startswith('SF:'):
            file = open_file(files, record[3:])
        elif record.startswith('DA:') and file:
            line, count = record[3:].split(',')[:2]
            file.add(LINES, (int(line),), int(count) > 0)


def open_file(files, name):
    path = pathlib.Path(name)
    if not path.is_relative_to(ROOT):
        return None
    path = path.relative_to(ROOT).as_posix()
    if not path.startswith(tuple(folder + '/' for folder in BARS)):
        return None
    return files.setdefault(path, File(path))


def read_regions(data, files):
    """Branches and decisions. The conditions of a decision are its branches in order of place; a
    constant one (KP_VERIFY, sizeof) has no branch and no condition."""
    for entry in data['files']:
        file = open_file(files, entry['filename'])
        if not file:
            continue
        spots = set()
        for line, column, _, _, true, false, *_ in entry['branches']:
            spots.add((line, column))
            file.add(BRANCHES, (line, column, 'true'), true > 0)
            file.add(BRANCHES, (line, column, 'false'), false > 0)
        for record in entry.get('mcdc_records', []):
            begin, end = tuple(record[0:2]), tuple(record[2:4])
            covered = record[-1]
            inside = sorted(s for s in spots if begin <= s < end)
            for i, shown in enumerate(covered):
                spot = inside[i] if len(inside) == len(covered) else begin
                file.add(CONDITIONS, spot + (f'condition {i + 1} of {len(covered)}',), shown)


def percent(covered, total):
    return '-' if total == 0 else f'{100 * covered / total:.1f}' if covered < total else '100'


def tell_gap(kind, file, place, out):
    text = file.source[place[0] - 1].strip()
    what = {LINES: 'line', BRANCHES: f'never {place[-1]}', CONDITIONS: place[-1]}[kind]
    column = f':{place[1]}' if len(place) > 1 else ''
    out.write(f'{file.path}:{place[0]}{column}: {what}: {text}\n')


def report(files, out):
    """The table, the gaps, the marks. True: every bar is met."""
    sums, gaps = {}, []
    print(f'{"file":<28}{"lines":>16}{"branches":>18}{"MC/DC":>18}')
    for path, file in sorted(files.items()):
        cells = ''
        folder = path.rsplit('/', 1)[0]
        for kind in (LINES, BRANCHES, CONDITIONS):
            covered, total, missed = file.result(kind)
            was = sums.get((folder, kind), (0, 0))
            sums[folder, kind] = (was[0] + covered, was[1] + total)
            if kind in BARS[folder]:
                gaps += [(kind, file, place) for place in missed]
            cells += f'{percent(covered, total):>9}{f"({covered}/{total})":>9}'
        print(f'{path:<26}{cells}')
    for folder in BARS:
        cells = ''
        for kind in (LINES, BRANCHES, CONDITIONS):
            covered, total = sums.get((folder, kind), (0, 0))
            cells += f'{percent(covered, total):>9}{f"({covered}/{total})":>11}'
        print(f'== {folder:<20}{cells}')
    for kind, file, place in sorted(gaps, key=lambda g: (g[1].path, g[2][0], g[0])):
        tell_gap(kind, file, place, out)
    marks = 0
    for path, file in sorted(files.items()):
        for line, why in sorted(file.marks.items()):
            marks += 1
            needed = '' if line in file.used else ' (not needed this time)'
            print(f'marked: {path}:{line}: never, because {why}{needed}')
    print(f'{len(gaps)} gaps, {marks} marked unreachable')
    return not gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build' / 'coverage')
    parser.add_argument('--no-run', action='store_true', help='report on the last run again')
    parser.add_argument('--details', type=argparse.FileType('w'), default=sys.stdout,
                        help='where the gaps go (default: standard output)')
    parser.add_argument('-j', '--jobs', type=int, default=os.cpu_count() or 2)
    args = parser.parse_args()
    passed = args.no_run or measure(args.build, args.jobs)
    files = {}
    read_lines(export(args.build, 'lcov'), files)
    read_regions(json.loads(export(args.build, 'text'))['data'][0], files)
    sources = {p.relative_to(ROOT).as_posix() for folder in BARS
               for p in (ROOT / folder).glob('*.c')} - {'src/core/verify.c'}
    sources -= {'src/core/limit.c'}     # names, and no code
    for path in sorted(sources - set(files)):
        print(f'coverage: there is no data about {path}', file=sys.stderr)
    held = report(files, args.details) and sources <= set(files)
    warnings = uncounted(args.build)
    print(''.join(w + '\n' for w in warnings), end='')
    if not passed:
        sys.exit('coverage: a test failed')
    if not held or warnings:
        sys.exit('coverage: below 100 %')


if __name__ == '__main__':
    main()
