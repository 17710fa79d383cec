"""What does a run cost that has nothing to do? 100,000 small files, against `find` with the same `stat`."""

import datetime
import shutil
import statistics
import subprocess
import sys
import time

import harness

FILES = 100_000
ROUNDS = 5


def find(corpus):
    """Seconds in which `find` looks at every file as scan does."""
    started = time.perf_counter()
    subprocess.run(
        ["find", corpus, "-type", "f", "-printf", "%p %s %T@ %C@ %i\n"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def contents_read(place, corpus):
    """How many files of the corpus a run opens, as strace sees it; None where there is no strace."""
    if not shutil.which("strace"):
        return None
    log = place / "strace"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=openat,open", "-o", log, harness.SEMANTIK, "--log", "error", "run",
         "pipeline.yaml", "--json"],
        cwd=place, check=True, stdout=subprocess.DEVNULL,
    )
    with open(log, errors="replace") as lines:
        return sum(f'"{corpus}' in line and ".txt" in line for line in lines)


def main():
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    place = harness.folder()
    corpus = place / "corpus"
    for n in range(files):
        if n % 1000 == 0:
            (corpus / f"{n // 1000:03}").mkdir(parents=True)
        (corpus / f"{n // 1000:03}" / f"{n}.txt").write_text(f"Note {n}: the value of {n % 97} is {n * n}.")
    harness.write_pipeline(place, corpus, "stand-in:16")
    first = harness.run(place)
    finds, runs, wholes, peaks = [], [], [], []
    for _ in range(ROUNDS):
        finds.append(find(corpus))
        started = time.perf_counter()
        again = harness.run(place)
        wholes.append(time.perf_counter() - started)
        assert again["documents"]["unchanged"] == files, again["documents"]
        runs.append(again["seconds"])
        peaks.append(again["peak_mib"])
    read = contents_read(place, corpus)
    shutil.rmtree(place)
    ratio = statistics.median(run / found for run, found in zip(runs, finds))
    print(f"# A run that has nothing to do\n\n{datetime.date.today()}, {harness.machine()}; {files:,} files, "
          f"median of {ROUNDS} rounds, `find` and the run in turn; vectors embedded, made by the stand-in\n")
    harness.table(("what", "figure"), [
        ("first run, s", f"{first['seconds']:.1f}"),
        ("`find -printf` with stat, s", f"{statistics.median(finds):.2f}"),
        ("the run, s", f"{statistics.median(runs):.2f}"),
        ("the command from start to end, s", f"{statistics.median(wholes):.2f}"),
        ("the run for each file, µs", f"{statistics.median(runs) / files * 1e6:.0f}"),
        ("ratio to `find`", f"{ratio:.1f}"),
        ("files of the corpus that were opened (strace)", "not looked at" if read is None else read),
        ("peak memory of the command, MiB", f"{statistics.median(peaks):.0f}"),
    ])


main()
