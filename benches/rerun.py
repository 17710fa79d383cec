"""Cost of a run without changes: 100,000 small files, against `find` with the same `stat`."""

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
    """Seconds of `find` with the same `stat` calls as the scan."""
    started = time.perf_counter()
    subprocess.run(
        ["find", corpus, "-type", "f", "-printf", "%p %s %T@ %C@ %i\n"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def contents_read(place, corpus):
    """Number of corpus files that a run opens, by strace; None without strace."""
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
    print(f"# A run without changes\n\n{datetime.date.today()}, {harness.machine()}; {files:,} files, "
          f"median of {ROUNDS} rounds, alternating with `find`; embedded stand-in vectors\n")
    harness.table(("what", "figure"), [
        ("first run, s", f"{first['seconds']:.1f}"),
        ("`find -printf` with stat, s", f"{statistics.median(finds):.2f}"),
        ("run, s", f"{statistics.median(runs):.2f}"),
        ("whole command, s", f"{statistics.median(wholes):.2f}"),
        ("run per file, µs", f"{statistics.median(runs) / files * 1e6:.0f}"),
        ("ratio to `find`", f"{ratio:.1f}"),
        ("opened corpus files (strace)", "not measured" if read is None else read),
        ("peak memory, MiB", f"{statistics.median(peaks):.0f}"),
    ])


main()
