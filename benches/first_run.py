"""Does a first run stay linear? Milliseconds for each of 10,000, 30,000 and 100,000 tiny files, in a store that is new.

    python3 benches/first_run.py [FILES …] [--binary PATH] [--rounds N]

The release build is measured unless another binary is named. Every size has a folder, a cluster and a collection of its
own in every round; the rounds go through the sizes in turn, so that what the machine does meanwhile meets all of them.
Vectors are made by the stand-in, so that the stores and not a model are measured.
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
# Flat is within this of the smallest size.
FLAT = 0.10


def corpus_of(place, files):
    """Tiny files, a thousand in a folder; no two have the same content."""
    corpus = place / "corpus"
    for n in range(files):
        folder = corpus / f"{n // 1000:03}"
        if n % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{n}.txt").write_text(f"Note {n}: the value of {n % 97} is {n * n}.")
    return corpus


def first_run(files):
    """Seconds of the run as it reports them and of the whole command, and its peak memory."""
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
          f"with a new store each; vectors embedded, made by the stand-in; `{harness.SEMANTIK.parent.name}` build\n")
    harness.table(("files", "the run, s", "the command, s", "ms for each file", "from … to", "peak, MiB"), rows)
    smallest = per_file[min(per_file)]
    worst = max(value / smallest for value in per_file.values()) - 1
    print(f"\nAt most {worst:+.1%} beside the smallest size; flat is within {FLAT:.0%}.")


main()
