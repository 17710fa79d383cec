"""Indexes mutated files of every format, and asks whether each is accounted for within the worker's limits.

    python3 tests/campaigns/mutations.py BINARY CORPUS [FILES] [SEED]

CORPUS is a folder of good files (`.cache/corpora`); a table, letters and a report of `tests/data` join
them. Prints one line per batch of a thousand files: how they ended, the time of the run, the most memory
that a worker process took, and what was wrong. Ends with 1 if anything was.
"""

import collections
import gzip
import os
import pathlib
import random
import sys
import threading
import time

from place import Place

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 1000
# The most that a worker may hold: `max_memory` of the pipeline, and what the process is by itself.
MOST_KIB = (256 + 128) << 10
KINDS = {".html", ".txt", ".md", ".pdf", ".docx", ".gz", ".json", ".css", ".js", ".epub", ".png"}


def originals(corpus):
    """Good files by their extension; compressed manual pages also as they are without compression."""
    found = collections.defaultdict(list)
    for path in [*pathlib.Path(corpus).rglob("*"), *(ROOT / "tests/data").iterdir(), *(ROOT / "docs").rglob("*.md")]:
        if path.is_file() and path.suffix in KINDS and path.stat().st_size < 1 << 20:
            content = path.read_bytes()
            found[path.suffix].append(content)
            if path.suffix == ".gz":
                found["." + path.name.split(".")[-2]].append(gzip.decompress(content))
    return {suffix: contents for suffix, contents in found.items() if contents}


def mutate(chance, content, other):
    """One to four changes of a file: what a bad disk, a broken copy or a hostile author makes of it."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(content) + 1)
        length = min(chance.choice([1, 4, 64, 1024, 16384]), len(content) - at)
        part = bytes(content[at : at + length])
        match chance.randrange(9):
            case 0:  # flip bits
                for _ in range(chance.randint(1, 200)):
                    if content:
                        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            case 1:  # cut off
                del content[at:]
            case 2:  # take a part out
                del content[at : at + length]
            case 3:  # repeat a part, often
                content[at:at] = part * chance.choice([1, 10, 1000])
            case 4:  # put a part of another file in
                start = chance.randrange(len(other) + 1)
                content[at:at] = other[start : start + length]
            case 5:  # noise
                content[at : at + length] = chance.randbytes(length)
            case 6:  # nest what opens something
                opening = chance.choice([b"<div>", b"<b>", b"[", b"(", b">", b"{", b".if 1 ", b"\\*[", b"<<", b".RS\n"])
                content[at:at] = opening * chance.choice([10, 1000, 20000])
            case 7:  # numbers become large ones
                content[:] = content.replace(b"1", b"99999999999", chance.randint(1, 20))
            case 8:  # zeros
                content[at : at + length] = bytes(length)
    # A few are large; the rest stay small, so that there can be many of them.
    return bytes(content[: 4 << 20 if chance.random() < 0.01 else 64 << 10])


class Workers(threading.Thread):
    """Watches the memory of the worker processes below a command."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command, self.peak_kib = command, 0
        self.start()

    def run(self):
        while self.command.poll() is None:
            for pid in self.workers():
                try:
                    status = open(f"/proc/{pid}/status").read()
                    self.peak_kib = max(self.peak_kib, int(status.split("RssAnon:")[1].split()[0]))
                except (OSError, IndexError):
                    pass  # it has ended
            time.sleep(0.02)

    def workers(self):
        """Processes of the command's executable that read documents."""
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if b"extract-worker" in (entry / "cmdline").read_bytes():
                        yield entry.name
                except OSError:
                    pass


def main():
    binary, corpus = os.path.abspath(sys.argv[1]), sys.argv[2]
    files, seed = (int(it) for it in (sys.argv[3:5] + ["1000", "1"][len(sys.argv) - 3 :]))
    good = originals(corpus)
    print({suffix: len(contents) for suffix, contents in sorted(good.items())})
    wrong = 0
    for batch in range(0, files, BATCH):
        chance = random.Random(f"{seed}/{batch}")
        place = Place(binary)
        for n in range(min(BATCH, files - batch)):
            suffix = chance.choice(sorted(good))
            content = mutate(chance, chance.choice(good[suffix]), chance.choice(good[chance.choice(sorted(good))]))
            named = suffix if chance.random() < 0.9 else chance.choice(sorted(good))
            (place.corpus / f"{n:04}{named}").write_bytes(content)
        begin = time.monotonic()
        command = place.start("run", "pipeline.yaml", "--json")
        memory = Workers(command)
        out, err = command.communicate(timeout=3600)
        seconds = time.monotonic() - begin
        faults = [line[:200] for line in err.decode(errors="replace").splitlines() if "panicked" in line or "overflowed" in line]
        if memory.peak_kib > MOST_KIB:
            faults.append(f"a worker held {memory.peak_kib >> 10} MiB")
        faults += place.faults(words=False)
        listed = place.command("run", "pipeline.yaml", "--json").json().get("documents", {})
        wrong += bool(faults)
        print(
            f"{batch:6} first {command.returncode} {seconds:6.1f} s, worker at most {memory.peak_kib >> 10} MiB, "
            f"{listed}  {faults or 'fine'}",
            flush=True,
        )
        if not faults:
            place.remove()
    print(f"{files} files, {wrong} batches with a fault")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
