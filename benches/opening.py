"""Cost of opening files relative to their folder: dry runs over many small files, which read every
file and embed nothing, with two alternating builds (`BEFORE=/path/to/semantik benches/run opening`)
or with one build."""

import datetime
import os
import shutil
import statistics
import subprocess
import time

import harness

FILES = 10_000
ROUNDS = 9


def forecast(binary, place):
    """Seconds of one dry run."""
    began = time.monotonic()
    subprocess.run([binary, "plan", place / "pipeline.yaml", "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main():
    place = harness.folder()
    corpus = place / "corpus"
    for number in range(FILES):
        folder = corpus / f"{number % 100:02}" / "below" / "and below"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"document number {number}")
    harness.write_pipeline(place, corpus, "stand-in:16")
    builds = {"now": harness.SEMANTIK}
    if "BEFORE" in os.environ:
        builds["before"] = os.environ["BEFORE"]
    taken = {name: [] for name in builds}
    for _ in range(ROUNDS):
        for name, binary in builds.items():
            taken[name].append(forecast(binary, place))
    shutil.rmtree(place)
    print(f"# Opening files\n\n{datetime.date.today()}, {harness.machine()}, {FILES:,} files, {ROUNDS} alternating rounds\n")
    # The fastest round has the least interference from other processes.
    harness.table(
        ("build", "fastest, s", "median, s", "µs per file, fastest"),
        [(name, f"{min(all_):.3f}", f"{statistics.median(all_):.3f}", f"{min(all_) / FILES * 1e6:.0f}")
         for name, all_ in taken.items()],
    )


main()
