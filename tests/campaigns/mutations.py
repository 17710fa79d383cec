"""Indexes mutated files of every format and checks that each is accounted for within the limits of
the extract worker.

    python3 tests/campaigns/mutations.py BINARY CORPUS [FILES] [SEED]

CORPUS is a folder of valid files (`.cache/corpora`); a table, letters and a report of `tests/data`
are added. Prints one line per batch of a thousand files: their outcomes, the time of the run, the
peak memory of a worker process, and faults. Exits with 1 after any fault.
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
# Memory limit of a worker: `max_memory` of the pipeline plus the size of the process itself.
MOST_KIB = (256 + 128) << 10
KINDS = {".html", ".txt", ".md", ".pdf", ".docx", ".gz", ".json", ".css", ".js", ".epub", ".png"}


def originals(corpus):
    """Valid files by extension; compressed manual pages also uncompressed."""
    found = collections.defaultdict(list)
    for path in [*pathlib.Path(corpus).rglob("*"), *(ROOT / "tests/data").iterdir(), *(ROOT / "docs").rglob("*.md")]:
        if path.is_file() and path.suffix in KINDS and path.stat().st_size < 1 << 20:
            content = path.read_bytes()
            found[path.suffix].append(content)
            if path.suffix == ".gz":
                found["." + path.name.split(".")[-2]].append(gzip.decompress(content))
    return {suffix: contents for suffix, contents in found.items() if contents}


def mutate(chance, content, other):
    """One to four mutations of a file, as by disk errors, incomplete copies or hostile authors."""
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
            case 1:  # truncate
                del content[at:]
            case 2:  # remove a range
                del content[at : at + length]
            case 3:  # repeat a range many times
                content[at:at] = part * chance.choice([1, 10, 1000])
            case 4:  # insert a range of another file
                start = chance.randrange(len(other) + 1)
                content[at:at] = other[start : start + length]
            case 5:  # random bytes
                content[at : at + length] = chance.randbytes(length)
            case 6:  # nest opening tokens
                opening = chance.choice([b"<div>", b"<b>", b"[", b"(", b">", b"{", b".if 1 ", b"\\*[", b"<<", b".RS\n"])
                content[at:at] = opening * chance.choice([10, 1000, 20000])
            case 7:  # enlarge numbers
                content[:] = content.replace(b"1", b"99999999999", chance.randint(1, 20))
            case 8:  # zeros
                content[at : at + length] = bytes(length)
    # A few files are large; the rest stay small for speed.
    return bytes(content[: 4 << 20 if chance.random() < 0.01 else 64 << 10])


class Workers(threading.Thread):
    """Samples the memory of the worker processes of a command."""

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
                    pass  # the process has exited
            time.sleep(0.02)

    def workers(self):
        """Extract worker processes of the executable of the command."""
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
            faults.append(f"a worker used {memory.peak_kib >> 10} MiB")
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
