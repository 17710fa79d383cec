#!/usr/bin/env python3
"""SIGKILL at random moments of everything that changes a collection, with embedded stores: of the command, of the PostgreSQL
server, or of both. The next command makes it good: nothing is lost, doubled, orphaned or stuck.

    tests/campaigns/kills.py target/debug/semantik --seeds 1-4 --kills 50 --minutes 60

Each seed is one folder that lives through all its kills. After each kill the operation is repeated until it succeeds where
that is what its user would do, the pipeline is run, and `verify`, a second run and the accounts are checked. Rows with
findings keep their folder.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from common import Place, contradictions, kill_postmaster, table

WORDS = "heron river stone light paper cloud winter garden letter window engine copper".split()


class Campaign:
    def __init__(self, options, seed):
        self.options, self.chance = options, random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix=f"kills-{seed}-", dir=options.folder)
        self.place = Place(options.binary, self.folder)
        # How long each operation takes, as far as is known: kills are spread over that time.
        self.lengths = {}
        asks = self.place.run("migrate", "down", "--help")
        self.sure = ["--yes"] if "--yes" in asks.out else []
        for _ in range(options.files):
            self.write(self.name())
        self.found = self.place.run("run", "p.yaml", limit=options.limit).faults({0, 2})

    def name(self):
        return f"{self.chance.randrange(self.options.files * 2):04}.txt"

    def write(self, name):
        words = (self.chance.choice(WORDS) + str(self.chance.randrange(99)) for _ in range(self.chance.randrange(5, 150)))
        with open(os.path.join(self.place.corpus, name), "w") as file:
            file.write(" ".join(words))

    def change(self):
        """Adds, edits and deletes some files."""
        for _ in range(self.chance.randrange(1, 20)):
            self.write(self.name())
        names = sorted(os.listdir(self.place.corpus))
        for name in self.chance.sample(names, min(3, len(names) - 1)):
            os.remove(os.path.join(self.place.corpus, name))

    def command(self, operation):
        config = ["--config", "p.yaml"]
        return {
            "run": ["run", "p.yaml"],
            "reindex": ["reindex", "p.yaml"],
            "sources delete": ["sources", "delete", f"file://{self.place.corpus}", "--yes", *config],
            "collections delete": ["collections", "delete", "--yes", *config],
            "migrate down": ["migrate", "down", "--steps", str(self.chance.choice([1, 2, 99])), *self.sure, *config],
            "migrate up": ["migrate", "up", *config],
        }[operation]

    def kill(self, operation, victim):
        """Starts an operation and kills; gives after how many seconds, or None if it had ended."""
        if operation == "migrate up":
            self.place.run(*self.command("migrate down"), limit=self.options.limit)
        process = self.place.start(*self.command(operation))
        moment = self.chance.uniform(0, self.lengths.get(operation, 1.0))
        try:
            process.wait(moment)
            took = time.time() - process.began
            self.lengths[operation] = 0.5 * self.lengths.get(operation, took) + 0.5 * took
            return None
        except subprocess.TimeoutExpired:
            pass
        # Beyond what it took before: the next kills may come later.
        self.lengths[operation] = max(self.lengths.get(operation, 1.0), moment * 1.3)
        if victim in ("command", "both"):
            process.kill()
        if victim in ("server", "both"):
            kill_postmaster(self.folder)
        try:
            process.wait(self.options.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.found.append(f"{operation} did not end after its server was killed")
        process.err.seek(0)
        said = process.err.read().decode("utf8", "replace")
        self.found += [line for line in said.splitlines() if "panicked" in line]
        return moment

    def recover(self, operation):
        """What a user does next, and what has to be true then."""
        run = lambda *args: self.place.run(*args, limit=self.options.limit)
        if operation.startswith("migrate"):
            self.found += run("migrate", "up", "--config", "p.yaml").faults({0})
        if operation == "collections delete":
            again = run(*self.command(operation))
            if again.code != 0 and "no collection" not in again.err:
                self.found += again.faults({0})
            left = self.place.vector_folders()
            self.found += [f"vectors of a deleted collection: {folder}" for folder in left]
        if operation == "sources delete":
            again = run(*self.command(operation))
            if again.code != 0 and "not a source" not in again.err:
                self.found += again.faults({0})
        self.found += run("run", "p.yaml").faults({0, 2})
        self.found += run("verify", "p.yaml").faults({0})
        second = run("run", "p.yaml", "--json")
        self.found += second.faults({0, 2})
        report = second.json()
        if report and report["documents"]["stored"]:
            self.found.append(f"a second run stored {report['documents']['stored']}")
        with self.place.metadata() as metadata:
            self.found += contradictions(metadata, self.place.corpus)


OPERATIONS = ["run", "reindex", "sources delete", "collections delete", "migrate down", "migrate up"]
VICTIMS = ["command", "server", "both"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seeds", default="1-4", help="the first and the last seed")
    parser.add_argument("--kills", type=int, default=50, help="kills for each seed")
    parser.add_argument("--files", type=int, default=150, help="files of a collection")
    parser.add_argument("--minutes", type=float, default=60, help="no kill is begun after this time")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one command")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--folder", help="where the collections are made")
    options = parser.parse_args()
    first, last = (int(seed) for seed in options.seeds.split("-"))
    operations = options.operations.split(",")
    began, counts, failed = time.time(), {}, 0
    for seed in range(first, last + 1):
        campaign = Campaign(options, seed)
        for number in range(options.kills):
            if time.time() - began > options.minutes * 60:
                break
            # Every operation with every victim in turn, so that a short campaign has all of them.
            operation = operations[number % len(operations)]
            victim = VICTIMS[number // len(operations) % len(VICTIMS)]
            campaign.found = []
            campaign.change()
            moment = campaign.kill(operation, victim)
            campaign.recover(operation)
            row = counts.setdefault((operation, victim), [0, 0, 0])
            row[0] += moment is not None
            row[1] += moment is None
            row[2] += bool(campaign.found)
            when = "had ended" if moment is None else f"after {moment:.2f} s"
            print(f"seed {seed} kill {number}: {victim} of {operation}, {when}", *campaign.found[:10], sep="\n  ", file=sys.stderr, flush=True)
            failed += bool(campaign.found)
        if failed:
            print(f"seed {seed} is kept in {campaign.folder}", file=sys.stderr)
        else:
            shutil.rmtree(campaign.folder)
    table(["operation", "victim", "killed", "had ended", "with findings"], [[*key, *row] for key, row in sorted(counts.items())])
    sys.exit(1 if failed or not counts else 0)


if __name__ == "__main__":
    main()
