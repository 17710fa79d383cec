"""Kills commands at random moments, or the embedded PostgreSQL, and checks that the next run
repairs everything.

    python3 tests/campaigns/kills.py BINARY [KILLS] [SEED]

The commands are `run`, `reindex`, `sources delete`, `collections delete`, `documents delete`,
`verify --repair` and `migrate down` with `migrate up`; in a quarter of the tries the postmaster is
killed instead of the command. Prints one line per kill and exits with 1 after any fault.
"""

import os
import pathlib
import random
import signal
import sys
import time

from place import Place, words

FILES = 300


def delete_source(place):
    return ["sources", "delete", "pipeline.yaml", str(place.corpus), "--yes"]


def delete_some(place, chance):
    paths = chance.sample([str(path) for path in place.files()], 20)
    return ["documents", "delete", "pipeline.yaml", *paths, "--yes"]


COMMANDS = {
    "run": lambda place, chance: ["run", "pipeline.yaml"],
    "reindex": lambda place, chance: ["reindex", "pipeline.yaml"],
    "sources delete": lambda place, chance: delete_source(place),
    "collections delete": lambda place, chance: ["collections", "delete", "pipeline.yaml", "--yes"],
    "documents delete": delete_some,
    "verify --repair": lambda place, chance: ["verify", "pipeline.yaml", "--repair"],
    "migrate down": lambda place, chance: ["migrate", "down", "pipeline.yaml", "--yes", "--steps", "3"],
}
# Commands that undo the effect of the killed command, so that the index can be compared with the
# folder.
AFTERWARDS = {
    "migrate down": [["migrate", "up", "pipeline.yaml"]],
    "documents delete": [["collections", "delete", "pipeline.yaml", "--yes"]],
}


def postmaster(place):
    """The postmaster of the embedded cluster, if it runs."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"/postgres") and any(str(place.folder).encode() in it for it in words):
                return int(entry.name)
    return None


def edit(place, chance):
    """Changes some files, so that the command has work."""
    for n in chance.sample(range(FILES), 60):
        (place.corpus / f"{n}.txt").write_text(words(chance, "edited"))


def main():
    binary = os.path.abspath(sys.argv[1])
    kills, seed = (int(it) for it in (sys.argv[2:4] + ["50", "1"][len(sys.argv) - 2 :]))
    chance = random.Random(seed)
    random.seed(seed)
    wrong = midway = 0
    place = Place(binary)
    for n in range(FILES):
        (place.corpus / f"{n}.txt").write_text(words(chance, "first"))
    for n in range(kills):
        name = chance.choice(sorted(COMMANDS))
        edit(place, chance)
        command = place.start(*COMMANDS[name](place, chance))
        # Half of the moments are early: during the start of the cluster, then when the operation is
        # taken.
        time.sleep(chance.choice([chance.uniform(0, 0.5), chance.uniform(0.3, 4)]))
        victim = postmaster(place) if chance.random() < 0.25 else None
        ended = command.poll() is not None
        midway += not ended
        try:
            os.kill(victim or command.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        command.communicate(timeout=120)
        for verb in AFTERWARDS.get(name, []):
            place.command(*verb)
        faults = place.faults()
        wrong += bool(faults)
        whom = "postmaster" if victim else "command"
        print(f"{n:4} {name:18} {whom:10} {'ended' if ended else 'midway':6} {faults or 'fine'}", flush=True)
        if faults:
            kept, place = place, Place(binary)
            print(f"     kept: {kept.folder}")
            for n in range(FILES):
                (place.corpus / f"{n}.txt").write_text(words(chance, "first"))
    place.remove()
    print(f"{kills} kills, {midway} before the end, {wrong} with a fault")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
