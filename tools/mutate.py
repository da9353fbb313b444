#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Mutation test of src/core: break the code at one place at a time and see whether a test notices.

    tools/mutate.py [--jobs N] [--only FILE] [--sample N] [--shard I/N] [--list] [--show TEXT]
                    [--again] [--believe]

The library is built once as one shared object, with KP_VERIFY as in `make test`, and each test as
a program that uses it. A mutant is one source file with one change, compiled and preloaded before
the library, so that its functions replace the real ones. The tests that killed most mutants for
their time run first; they run until one fails, crashes, or takes too long. A mutant whose object
code equals the original's, or another mutant's, is not counted.

A survivor is printed when it is found, and kept in build/mutate/survivors.txt; --again tries only
those of the last run, and updates their verdicts. --believe skips mutants that tools/mutants.txt
lists as survivors: every test would have to run for them.

A survivor must be in tools/mutants.txt with a reason; those that no test can tell from the original
are marked `equivalent` there and are not counted either. The exit status is 1 if a survivor is not
in that file, or if fewer than 95 % of all mutants are killed."""

import argparse
import collections
import concurrent.futures
import glob
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import threading
import time

import mutate_code

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / 'tools' / 'mutants.txt'
SURVIVORS = 'survivors.txt'
BAR = 95.0
CC = os.environ.get('CC', 'gcc')
FLAGS = ['-std=c11', '-D_GNU_SOURCE', '-DKP_VERIFY=1', '-DKP__INSIDE=',
         '-DKP_TESTS_COME_FIRST', '-fPIC', '-pthread', '-w',
         '-Iinclude', '-Isrc', '-Itestkit', '-Itests']
# A swap of arguments that changes their types must be a compile error, not a mutant (-w would hide
# it), and an access beyond an array must trap rather than be undefined.
MUTANT_FLAGS = ['-DKP_BUILD', '-O1', '-fsanitize=bounds', '-fsanitize-undefined-trap-on-error',
                '-Werror=incompatible-pointer-types', '-Werror=int-conversion',
                '-Werror=discarded-qualifiers', '-Werror=implicit-function-declaration']
# verify.c only checks the core; it is not part of it. Base has tests of its own.
NOT_MUTATED = {'src/core/verify.c'}
TESTS = ('unit', 'kit', 'contract', 'regress', 'misuse', 'faults', 'fairness')
# Tests of base, of adapters and glue (they need other libraries), and those that need --wrap.
NO_TESTS = ('base_', 'sqlite', 'apr', '_uv', 'close_event', 'times_event', 'null_', 'memory_',
            'flow_process')

# Tests of several files: the files, and the program's arguments.
MODEL = ['agree', 'stage'] + [path.stem for pattern in ('play*.c', 'model*.c')
                              for path in sorted((ROOT / 'tests' / 'model').glob(pattern))]
MORE_TESTS = {
    'model_agree': (MODEL, ['--ops', '20000', '--seed', '1']),
    'model_longer': (MODEL, ['--ops', '200000', '--seed', '2']),    # for those that survive so far
}
LONGEST = 4.0       # a test that takes more processor time is left out: a survivor runs all tests

Test = collections.namedtuple('Test', 'name command seconds')
Verdict = collections.namedtuple('Verdict', 'kind by')   # killed, timeout, survived; same, broken


def run(command, **more):
    return subprocess.run([str(c) for c in command], cwd=ROOT, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, **more)


def must(command):
    done = run(command)
    if done.returncode != 0:
        sys.exit(f'mutate: {" ".join(map(str, command))}\n{done.stderr}')


def in_parallel(jobs, function, items):
    with concurrent.futures.ThreadPoolExecutor(jobs) as crew:
        return list(crew.map(function, items))


# ---- what is built once --------------------------------------------------------------------------


def newest(patterns):
    return max(os.path.getmtime(p) for pattern in patterns for p in glob.glob(str(ROOT / pattern)))


def build(folder, jobs):
    """Builds the library and the tests. Returns the tests, not measured yet."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = newest(['include/*/*.h', 'src/*/*.h', 'testkit/*.h', 'tests/*/*.h'])

    def compiled(source, out, *more):
        if not out.exists() or out.stat().st_mtime < max(headers, (ROOT / source).stat().st_mtime):
            must([CC, *FLAGS, '-O1', source, *more, '-o', out])
        return out

    def object_of(source):
        return compiled(source, folder / (source.replace('/', '_') + '.o'), '-DKP_BUILD', '-c')

    sources = sorted(p.relative_to(ROOT).as_posix() for pattern in ('src/*/*.c', 'testkit/*.c')
                     for p in ROOT.glob(pattern))
    library = folder / 'libmutate.so'
    must([CC, '-shared', *in_parallel(jobs, object_of, sources), '-o', library, '-pthread'])

    def program_of(source):
        out = folder / (source.replace('/', '_')[:-2])
        compiled(source, out, '-L', folder, f'-Wl,-rpath,{folder}', '-lmutate', '-lcmocka', '-lm')
        return Test(out.name, [out], 0)

    def program_of_many(name):
        files, more = MORE_TESTS[name]
        objects = [compiled(f'tests/model/{f}.c', folder / f'{name}_{f}.o', '-c') for f in files]
        must([CC, *objects, '-o', folder / name, '-L', folder, f'-Wl,-rpath,{folder}', '-lmutate',
              '-lcmocka', '-lm', '-pthread'])
        return Test(name, [folder / name, *more], 0)

    tests = [p.relative_to(ROOT).as_posix() for f in TESTS
             for p in sorted(ROOT.glob(f'tests/{f}/*.c'))
             if not p.stem.endswith('_cases') and not any(n in p.stem for n in NO_TESTS)]
    return in_parallel(jobs, program_of, tests) + in_parallel(jobs, program_of_many, MORE_TESTS)


def limits(cpu):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def passes(test, mutant):
    """Does this test pass with the mutant in the library? None: it took too long."""
    env = dict(os.environ, LD_PRELOAD=str(mutant)) if mutant else dict(os.environ)
    cpu = int(2 + 10 * test.seconds)
    try:
        # a limit on wall time is for deadlocks only: other work on the machine stretches it
        done = subprocess.run(test.command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=10 + 10 * test.seconds, preexec_fn=lambda: limits(cpu))
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode in (-9, -24) else done.returncode == 0


def processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(tests, longest):
    """The tests that pass without a mutant, with the processor time that each takes."""
    good = []
    for test in tests:
        begin = processor_time()
        passed = passes(test._replace(seconds=20.0), None)
        seconds = processor_time() - begin
        if not passed or seconds > longest:
            print(f'mutate: {test.name} '
                  f'{f"takes {seconds:.1f} s" if passed else "does not pass as it is"}: left out')
        else:
            good.append(test._replace(seconds=seconds))
    if not good:
        sys.exit('mutate: no test passes')
    return good


# ---- one mutant ----------------------------------------------------------------------------------


class Order:
    """The order of the tests: first those that killed most mutants of this file for their time."""

    def __init__(self, tests, path):
        self.tests, self.path, self.lock = tests, path, threading.Lock()
        self.kills = collections.defaultdict(collections.Counter)
        if path.exists():
            for file, kills in json.loads(path.read_text()).items():
                self.kills[file].update(kills)

    def of(self, file):
        with self.lock:
            here, all_files = self.kills[file], sum(self.kills.values(), collections.Counter())
        return sorted(self.tests, key=lambda t: -(here[t.name] + all_files[t.name] / 20 + 0.1) /
                      (t.seconds + 0.01))

    def killed(self, file, test):
        with self.lock:
            self.kills[file][test.name] += 1

    def save(self):
        self.path.write_text(json.dumps(self.kills, indent=1, sort_keys=True))


class Bench:
    """Compiles mutants and runs the tests on them."""

    def __init__(self, folder, tests):
        self.folder, self.tests = folder, tests
        self.order = Order(tests, folder / 'order.json')
        self.lock = threading.Lock()
        self.codes = {}                          # hash of the object code -> its first mutant

    def compile(self, path, source, out):
        """Compiles one source file; for a header, all the files that may include it."""
        if path.endswith('.c'):
            flags = [f for f in FLAGS if f != '-w']
            done = run([CC, *flags, *MUTANT_FLAGS, '-shared', '-x', 'c', '-', '-o', out],
                       input=source)
            return done.returncode == 0
        copy = out.with_suffix('.include')
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(source)
        flags = [f for f in FLAGS if f not in ('-w', '-Isrc')]
        for h in (ROOT / path).parent.glob('*.h'):
            if not (copy / 'src/core' / h.name).exists():
                shutil.copy(h, copy / 'src/core' / h.name)
        done = run([CC, *flags, f'-I{copy}/src', '-Isrc', *MUTANT_FLAGS, '-shared', '-o', out,
                    *sorted(copy_sources(copy))])
        shutil.rmtree(copy)
        return done.returncode == 0

    def judge(self, mutant, text, survives):
        out = self.folder / f'mutant-{threading.get_ident()}.so'
        source = text[:mutant.begin] + mutant.text + text[mutant.end:]
        if not self.compile(mutant.path, source, out):
            return Verdict('broken', '')
        code = hashlib.sha256(out.read_bytes()).hexdigest()
        with self.lock:
            first = self.codes.setdefault(code, mutant)
        if first is not mutant:
            return Verdict('same', '')
        for test in self.order.of(mutant.path) if not survives else ():
            good = passes(test, out)
            if not good:
                self.order.killed(mutant.path, test)
                return Verdict('timeout' if good is None else 'killed', test.name)
        return Verdict('survived', '')

    def learn_original(self, path, text):
        out = self.folder / 'original.so'
        if not self.compile(path, text, out):
            sys.exit(f'mutate: {path} does not compile')
        self.codes[hashlib.sha256(out.read_bytes()).hexdigest()] = None


def copy_sources(copy):
    """Copies core and flow beside the changed header, because quoted includes look there first."""
    for folder in ('core', 'flow'):
        (copy / 'src' / folder).mkdir(parents=True, exist_ok=True)
        for source in (ROOT / 'src' / folder).glob('*.[ch]'):
            there = copy / 'src' / folder / source.name
            if not there.exists():
                shutil.copy(source, there)
            if source.suffix == '.c':
                yield there


# ---- the list of survivors -----------------------------------------------------------------------


def read_list():
    """Reads tools/mutants.txt: {key: (equivalent, reason)}. Its first lines explain the form."""
    known, path, where, source, number, open_ones = {}, '', '', '', 1, []
    for n, line in enumerate(LIST.read_text().splitlines() if LIST.exists() else [], 1):
        text = line.strip()
        if not text or text.startswith('#'):
            continue
        if text.startswith('- '):
            what, _, number = text[2:].partition(' #')
            open_ones.append((path, where, source, what, int(number or 1)))
        elif text.startswith(('equivalent: ', 'accepted: ')):
            kind, _, reason = text.partition(': ')
            for one in open_ones:
                known[one] = (kind == 'equivalent', reason)
            open_ones = []
        else:
            parts = line.split(': ', 2)
            if len(parts) != 3 or open_ones:
                sys.exit(f'{LIST}:{n}: not understood: {line}')
            path, where, source = parts
    if open_ones:
        sys.exit(f'{LIST}: the last entry has no reason')
    return known


def entry(mutant):
    number = f' #{mutant.number}' if mutant.number > 1 else ''
    return f'{mutant.path}: {mutant.where}: {mutant.source}\n- {mutant.what}{number}'


def one_line(mutant):
    return entry(mutant).replace('\n', ' ')


# ---- all of it -----------------------------------------------------------------------------------


def chosen(args):
    texts, mutants = {}, []
    for path in sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob('src/core/*.[ch]')):
        if path in NOT_MUTATED or (args.only and not path.endswith(tuple(args.only))):
            continue
        texts[path] = (ROOT / path).read_text()
        mutants += mutate_code.mutants_of(path, texts[path])
    if args.again:
        again = set((args.build / SURVIVORS).read_text().splitlines())
        mutants = [m for m in mutants if one_line(m) in again]
    if args.show:
        mutants = [m for m in mutants if args.show in m.source or args.show in m.what]
    # shuffled, always in the same way, so that each shard and sample has some of everything
    random.Random(args.seed).shuffle(mutants)
    if args.shard:
        i, n = map(int, args.shard.split('/'))
        mutants = mutants[i - 1::n]
    return texts, mutants[:args.sample] if args.sample else mutants


def judge_all(bench, texts, mutants, jobs, known, believed):
    results, begin, done = {}, time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as crew:
        futures = {crew.submit(bench.judge, m, texts[m.path], mutate_code.key(m) in believed): m
                   for m in mutants}
        for future in concurrent.futures.as_completed(futures):
            mutant, verdict = futures[future], future.result()
            results[mutant] = verdict
            if verdict.kind == 'survived' and mutate_code.key(mutant) not in known:
                print(f'survived: line {mutant.line}\n{entry(mutant)}', flush=True)
            done += 1
            if done % 100 == 0:
                print(f'{done}/{len(mutants)} in {time.monotonic() - begin:.0f} s, '
                      f'{sum(v.kind == "survived" for v in results.values())} survived',
                      flush=True)
    return results


def report(results, known, whole):
    """True: the bar is met and every survivor is in the list."""
    kinds = collections.Counter(v.kind for v in results.values())
    lived = sorted(m for m, v in results.items() if v.kind == 'survived')
    equivalent = [m for m in lived if known.get(mutate_code.key(m), (False,))[0]]
    unknown = [m for m in lived if mutate_code.key(m) not in known]
    for mutant, verdict in sorted(results.items()):
        if mutate_code.key(mutant) in known and verdict.kind in ('killed', 'timeout'):
            print(f'listed, but killed by {verdict.by}: {entry(mutant)}')
    if whole:
        there = {mutate_code.key(m) for m in results}
        for one in known:
            if one not in there:
                print(f'listed, but there is no such mutant: {": ".join(map(str, one))}')
    killed = kinds['killed'] + kinds['timeout']
    total = killed + len(lived) - len(equivalent)
    score = 100 * killed / total if total else 0.0
    print(f'{killed} killed of {total} ({score:.1f} %), {kinds["timeout"]} of them by time; '
          f'{len(equivalent)} equivalent, {len(lived) - len(equivalent)} survived, '
          f'{len(unknown)} of them without a reason; '
          f'{kinds["same"]} the same code as another, {kinds["broken"]} did not compile')
    return score >= BAR and not unknown


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    parser.add_argument('--only', metavar='FILE', action='append',
                        help='only this file, as budget.c; may be said again')
    parser.add_argument('--sample', type=int, metavar='N', help='only N mutants')
    parser.add_argument('--seed', type=int, default=1, help='which sample [1]')
    parser.add_argument('--shard', metavar='I/N', help='the part I (from 1) of N')
    parser.add_argument('--show', metavar='TEXT', help='only mutants whose line has this text')
    parser.add_argument('--again', action='store_true', help='only what survived the last run')
    parser.add_argument('--believe', action='store_true', help='do not run what is listed')
    parser.add_argument('--longest', metavar='S', type=float, default=LONGEST,
                        help='leave out tests that take more processor time [%(default)s]')
    parser.add_argument('--list', action='store_true', help='list the mutants and stop')
    parser.add_argument('--build', type=pathlib.Path, default=ROOT / 'build' / 'mutate')
    args = parser.parse_args()
    known = read_list()
    texts, mutants = chosen(args)
    if args.list:
        for mutant in sorted(mutants):
            print(entry(mutant))
        print(f'{len(mutants)} mutants')
        return
    tests = measured(build(args.build, args.jobs), args.longest)
    print(f'{len(mutants)} mutants, {len(tests)} test programs, '
          f'{sum(t.seconds for t in tests):.1f} s for all of them', flush=True)
    bench = Bench(args.build, tests)
    for path in texts:
        bench.learn_original(path, texts[path])
    results = judge_all(bench, texts, mutants, args.jobs, known, known if args.believe else {})
    bench.order.save()
    lived = sorted(one_line(m) for m, v in results.items() if v.kind == 'survived')
    (args.build / SURVIVORS).write_text('\n'.join(lived))
    whole = not (args.only or args.sample or args.shard or args.show or args.again)
    if not report(results, known, whole):
        sys.exit(1)


if __name__ == '__main__':
    main()
