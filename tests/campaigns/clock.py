"""Steps the wall clock of every process, the embedded PostgreSQL included, while runs and a worker work.

    python3 tests/campaigns/clock.py BINARY [TRIES] [SEED]

Each try takes a folder of its own, steps the clock by up to a day forwards or backwards at a random
moment, and then asks: do the numbers of the run add up, does the index hold exactly the files of the
folder with the words they have now, do both stores agree, and was each due time fired once? Prints one
line per try and ends with 1 if any answer was wrong. Needs `cc`.
"""

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
HOUR = 3600 * 10**9
PIPELINE = """\
version: 1
name: clock
collection: clock
nodes:
  - { id: scan, uses: scan, with: { paths: [./corpus] } }
  - { id: hash, uses: hash, from: scan }
  - { id: dedup, uses: dedup, from: hash }
  - { id: extract, uses: extract, from: dedup }
  - { id: chunk, uses: chunk, from: extract, with: { size: 64, overlap: 8 } }
  - { id: embed, uses: embed, from: chunk, with: { model: 'stand-in:16' } }
  - { id: upsert, uses: upsert, from: embed }
"""
SCHEDULE = 'schedule: { cron: "*/2 * * * * *", missed: skip }\n'


class Place:
    """A pipeline with a corpus, and a clock that all its processes share."""

    def __init__(self, binary, shim):
        self.binary = binary
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="semantik-clock-"))
        self.folder.chmod(0o755)
        (self.folder / "corpus").mkdir()
        (self.folder / "pipeline.yaml").write_text(PIPELINE)
        self.offset = self.folder / "offset"
        self.step(0)
        self.offset.chmod(0o644)
        self.environment = dict(os.environ, LD_PRELOAD=str(shim), CLOCK_OFFSET=str(self.offset))

    def step(self, nanoseconds):
        """Sets the clock so far ahead of the system's. In place: the file is mapped."""
        if self.offset.exists():
            with open(self.offset, "r+b") as file:
                file.write(struct.pack("<q", nanoseconds))
        else:
            self.offset.write_bytes(struct.pack("<q", nanoseconds))

    def write(self, name, words):
        (self.folder / "corpus" / name).write_text(words)

    def start(self, *arguments):
        return subprocess.Popen(
            [self.binary, "--log", "error", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def json(self, *arguments):
        """What the command printed, and how it ended."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=180)
        try:
            return json.loads(out), process.returncode
        except ValueError:
            return {"error": (err or out).decode(errors="replace")[-300:]}, process.returncode

    def faults(self):
        """What is wrong after a last run with the clock as it is: a list of words, empty if all is right."""
        found = []
        report, code = self.json("run", "pipeline.yaml", "--wait")
        counts = report.get("documents")
        if code or not counts:
            return [f"the last run ended with {code}: {report}"]
        if counts["seen"] != sum(counts[it] for it in ("stored", "unchanged", "duplicate", "set_aside")):
            found.append(f"the numbers do not add up: {counts}")
        files = {path.name: path.read_text() for path in (self.folder / "corpus").iterdir()}
        if counts["seen"] != len(files):
            found.append(f"{counts['seen']} seen, {len(files)} files")
        again, _ = self.json("run", "pipeline.yaml", "--wait")
        if again.get("documents", {}).get("unchanged") != len(files):
            found.append(f"a run without a change: {again.get('documents', again)}")
        checked, code = self.json("verify", "pipeline.yaml")
        if code:
            found.append(f"verify ended with {code}: {str(checked)[:200]}")
        # The newest words of some files are what a search finds.
        for name in random.sample(sorted(files), 3):
            word = files[name].split()[0]
            hits, _ = self.json("search", "--config", "pipeline.yaml", "--mode", "sparse", word)
            hits = hits if isinstance(hits, list) else hits.get("hits", [])
            if not any(name in json.dumps(hit) for hit in hits):
                found.append(f"{name} is not found by `{word}`")
        return found

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def text(chance, tag):
    """Words of one file; the first is in no other file and in no other version of it."""
    return f"{tag}{chance.randrange(10**9)} " + " ".join(str(chance.randrange(500)) for _ in range(60))


def a_run(place, chance, offset):
    """The clock steps in the middle of a run; the files that are edited meanwhile keep their length."""
    run = place.start("run", "pipeline.yaml")
    time.sleep(chance.uniform(0.2, 4))
    place.step(offset)
    for n in chance.sample(range(400), 20):
        place.write(f"{n}.txt", text(chance, "edited"))
    second = place.start("run", "pipeline.yaml", "--wait")
    run.communicate(timeout=180)
    second.communicate(timeout=180)
    return []


def a_worker(place, chance, offset):
    """The clock steps while a worker fires a schedule every two seconds; each due time is fired once."""
    (place.folder / "pipeline.yaml").write_text(PIPELINE + SCHEDULE)
    worker = place.start("worker", "pipeline.yaml")
    time.sleep(chance.uniform(5, 9))
    place.step(offset)
    place.write("late.txt", text(chance, "late"))
    time.sleep(6)
    place.step(offset // 2)
    time.sleep(4)
    history, code = place.json("schedule", "history", "pipeline.yaml", "--limit", "1000")
    worker.terminate()
    worker.communicate(timeout=120)
    (place.folder / "pipeline.yaml").write_text(PIPELINE)
    if code or not isinstance(history, list) or not history:
        return [f"no history of the schedule: {str(history)[:200]}"]
    due = [run["due_at"] for run in history]
    return [] if len(due) == len(set(due)) else ["a due time was fired twice"]


def main():
    binary = os.path.abspath(sys.argv[1])
    tries, seed = (int(it) for it in (sys.argv[2:4] + ["10", "1"][len(sys.argv) - 2 :]))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="semantik-clock-shim-") as folder:
        os.chmod(folder, 0o755)
        shim = pathlib.Path(folder) / "clock.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "clock.c"], check=True)
        for attempt in range(tries):
            chance = random.Random(f"{seed}/{attempt}")
            random.seed(f"{seed}/{attempt}")
            place = Place(binary, shim)
            for n in range(400):
                place.write(f"{n}.txt", text(chance, "first"))
            offset = chance.choice([-1, 1]) * chance.randrange(HOUR // 60, 24 * HOUR)
            scenario = (a_run, a_worker)[attempt % 2]
            faults = scenario(place, chance, offset) + place.faults()
            wrong += bool(faults)
            print(f"{attempt:3} {scenario.__name__:8} {offset / HOUR:+7.2f} h  {faults or 'fine'}", flush=True)
            place.remove()
    print(f"{tries} tries, {wrong} with a fault")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
