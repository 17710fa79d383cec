"""Steps the wall clock of every process, including the embedded PostgreSQL, during runs and while a
worker is active.

    python3 tests/campaigns/clock.py BINARY [TRIES] [SEED]

Each try uses a new folder, steps the clock by up to a day forwards or backwards at a random moment,
and then checks that the counts of the run add up, the index has exactly the files of the folder
with their current words, both stores are consistent, and each due time was fired once. Prints one
line per try and exits with 1 after any fault. Needs `cc`.
"""

import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from place import PIPELINE, Place, words

HOUR = 3600 * 10**9
SCHEDULE = 'schedule: { cron: "*/2 * * * * *", missed: skip }\n'


class Clock:
    """The offset that the preloaded shim adds to the wall clock."""

    def __init__(self, folder):
        self.shim, self.path = folder / "clock.so", folder / "offset"
        source = pathlib.Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.shim, source], check=True)
        self.path.write_bytes(struct.pack("<q", 0))
        self.environment = {"LD_PRELOAD": str(self.shim), "CLOCK_OFFSET": str(self.path)}

    def step(self, nanoseconds):
        """In place, because processes have mapped the file."""
        with open(self.path, "r+b") as file:
            file.write(struct.pack("<q", nanoseconds))


def a_run(place, clock, chance, offset):
    """The clock steps during a run, while files are edited."""
    run = place.start("run", "pipeline.yaml")
    time.sleep(chance.uniform(0.2, 4))
    clock.step(offset)
    for n in chance.sample(range(400), 20):
        (place.corpus / f"{n}.txt").write_text(words(chance, "edited"))
    second = place.start("run", "pipeline.yaml", "--wait")
    run.communicate(timeout=180)
    second.communicate(timeout=180)
    return []


def a_worker(place, clock, chance, offset):
    """The clock steps while a worker fires a schedule every two seconds; each due time fires
    once."""
    place.pipeline(PIPELINE + SCHEDULE)
    worker = place.start("worker", "pipeline.yaml")
    time.sleep(chance.uniform(5, 9))
    clock.step(offset)
    (place.corpus / "late.txt").write_text(words(chance, "late"))
    time.sleep(6)
    clock.step(offset // 2)
    time.sleep(4)
    history = place.command("schedule", "history", "pipeline.yaml", "--limit", "1000", "--json")
    worker.terminate()
    worker.communicate(timeout=120)
    place.pipeline(PIPELINE)
    due = [run["due_at"] for run in history.json() or []]
    if not due:
        return [f"no schedule history: {history.err[-200:]}"]
    return [] if len(due) == len(set(due)) else ["a due time was fired twice"]


def main():
    binary = os.path.abspath(sys.argv[1])
    tries, seed = (int(it) for it in (sys.argv[2:4] + ["10", "1"][len(sys.argv) - 2 :]))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="semantik-clock-") as folder:
        os.chmod(folder, 0o755)
        clock = Clock(pathlib.Path(folder))
        for attempt in range(tries):
            chance = random.Random(f"{seed}/{attempt}")
            random.seed(f"{seed}/{attempt}")
            clock.step(0)
            place = Place(binary, clock.environment)
            for n in range(400):
                (place.corpus / f"{n}.txt").write_text(words(chance, "first"))
            offset = chance.choice([-1, 1]) * chance.randrange(HOUR // 60, 24 * HOUR)
            scenario = (a_run, a_worker)[attempt % 2]
            faults = scenario(place, clock, chance, offset) + place.faults()
            wrong += bool(faults)
            print(f"{attempt:3} {scenario.__name__:8} {offset / HOUR:+7.2f} h  {faults or 'fine'}", flush=True)
            place.remove()
    print(f"{tries} tries, {wrong} with a fault")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
