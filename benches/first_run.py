"""Is the time of a first run linear? Milliseconds per file for 10,000, 30,000 and 100,000 tiny
files in a new store.

    python3 benches/first_run.py [FILES …] [--binary PATH] [--rounds N]

Measures the release build unless another binary is given. Every size has a new folder, cluster and
collection in every round, and the rounds alternate between the sizes, so that other load on the
machine affects all of them. The stand-in makes the vectors, so that the stores are measured and not
a model.
"""

import argparse
import datetime
import pathlib
import shutil
import statistics
import time

import harness

FILES = [10_000, 30_000, 100_000]
ROUNDS = 3
# Maximum deviation from the smallest size that counts as flat.
FLAT = 0.10


def corpus_of(place, files):
    """Tiny files with distinct content, a thousand per folder."""
    corpus = place / "corpus"
    for n in range(files):
        folder = corpus / f"{n // 1000:03}"
        if n % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{n}.txt").write_text(f"Note {n}: the value of {n % 97} is {n * n}.")
    return corpus


def first_run(files):
    """Reported seconds of the run, seconds of the whole command, and its peak memory."""
    place = harness.folder()
    try:
        harness.write_pipeline(place, corpus_of(place, files), "stand-in:16")
        started = time.perf_counter()
        report = harness.run(place)
        whole = time.perf_counter() - started
        assert report["documents"]["stored"] == files, report["documents"]
        return report["seconds"], whole, report["peak_mib"]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("files", type=int, nargs="*", default=FILES)
    arguments.add_argument("--binary", type=pathlib.Path, default=harness.SEMANTIK)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = arguments.parse_args()
    harness.SEMANTIK = wanted.binary.resolve()
    found = {files: [] for files in wanted.files}
    for _ in range(wanted.rounds):
        for files in wanted.files:
            found[files].append(first_run(files))
    rows, per_file = [], {}
    for files, runs in found.items():
        seconds, whole, peak = (statistics.median(column) for column in zip(*runs))
        spread = [run[0] / files * 1e3 for run in runs]
        per_file[files] = statistics.median(spread)
        rows.append((f"{files:,}", f"{seconds:.1f}", f"{whole:.1f}", f"{per_file[files]:.3f}",
                     f"{min(spread):.3f} to {max(spread):.3f}", f"{peak:.0f}"))
    print(f"# First runs of tiny files\n\n{datetime.date.today()}, {harness.machine()}; median of {wanted.rounds} rounds "
          f"with a new store each; embedded stand-in vectors; `{harness.SEMANTIK.parent.name}` build\n")
    harness.table(("files", "run, s", "command, s", "ms per file", "range", "peak, MiB"), rows)
    smallest = per_file[min(per_file)]
    worst = max(value / smallest for value in per_file.values()) - 1
    print(f"\nMaximum deviation from the smallest size {worst:+.1%}; the limit is {FLAT:.0%}.")


main()
