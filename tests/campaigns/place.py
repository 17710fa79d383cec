"""Shared parts of the campaigns: a pipeline in a folder, its commands, and the invariants of its
index."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

PIPELINE = """\
version: 1
name: campaign
collection: campaign
nodes:
  - { id: scan, uses: scan, with: { paths: [./corpus] } }
  - { id: hash, uses: hash, from: scan }
  - { id: dedup, uses: dedup, from: hash }
  - { id: extract, uses: extract, from: dedup, with: { max_seconds: 20, max_memory: 256MiB } }
  - { id: chunk, uses: chunk, from: extract, with: { size: 64, overlap: 8 } }
  - { id: embed, uses: embed, from: chunk, with: { model: 'stand-in:16' } }
  - { id: upsert, uses: upsert, from: embed }
"""
COUNTED = ("stored", "unchanged", "duplicate", "set_aside")
PANICS = ("panicked at", "has overflowed its stack", "RUST_BACKTRACE", "SIGSEGV")


class Ended:
    """The result of a command: exit code, stdout and stderr."""

    def __init__(self, process, timeout):
        try:
            out, err = process.communicate(timeout=timeout)
            self.code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.code = "timed out"
        self.out, self.err = out.decode(errors="replace"), err.decode(errors="replace")

    def json(self):
        """The parsed JSON output, or an empty object."""
        try:
            return json.loads(self.out)
        except ValueError:
            return {}

    def panics(self):
        return [line[:200] for line in (self.err + self.out).splitlines() if any(it in line for it in PANICS)]


class Place:
    """A pipeline file with a corpus and embedded stores, in a folder that the embedded PostgreSQL
    can read, also if root runs it."""

    def __init__(self, binary, environment=None):
        self.binary = binary
        self.environment = dict(os.environ, **(environment or {}))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="semantik-campaign-"))
        self.folder.chmod(0o755)
        self.corpus.mkdir()
        self.pipeline(PIPELINE)

    @property
    def corpus(self):
        return self.folder / "corpus"

    def pipeline(self, text):
        (self.folder / "pipeline.yaml").write_text(text)

    def start(self, *arguments, **options):
        return subprocess.Popen(
            [self.binary, "--log", "error", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def command(self, *arguments, timeout=300):
        return Ended(self.start(*arguments), timeout)

    def files(self):
        """The files that a scan sees."""
        found = self.corpus.rglob("*")
        return [path for path in found if path.is_file() and not path.name.startswith(".")]

    def faults(self, words=True):
        """Runs the pipeline to its end and returns the faults found, empty if all invariants hold.

        With `words`, each file is a text that starts with a unique word, which a search must find."""
        run = self.command("run", "pipeline.yaml", "--wait", "--json")
        counts = run.json().get("documents")
        if run.code not in (0, 2) or not counts:
            return [f"the run exited with {run.code}: {run.err[-300:]}"]
        found = run.panics()
        files = self.files()
        if counts["seen"] != sum(counts[it] for it in COUNTED):
            found.append(f"the counts do not add up: {counts}")
        if counts["seen"] != len(files):
            found.append(f"{counts['seen']} seen, {len(files)} files")
        again = self.command("run", "pipeline.yaml", "--wait", "--json")
        second = again.json().get("documents", {})
        if second.get("stored") != 0 or second.get("seen") != counts["seen"]:
            found.append(f"a run without changes stored documents: {second or again.err[-300:]}")
        verify = self.command("verify", "pipeline.yaml")
        if verify.code != 0:
            found.append(f"verify exited with {verify.code}: {(verify.out + verify.err)[-300:]}")
        for path in random.sample(files, min(3, len(files))) if words else []:
            word = path.read_text().split()[0]
            hits = self.command("search", "pipeline.yaml", "--mode", "sparse", "--json", word)
            if path.name not in hits.out:
                found.append(f"{path.name} is not a hit for `{word}`: {hits.err[-200:]}")
        return found

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def words(chance, tag):
    """The text of one file; its first word is in no other file and in no other version of it."""
    return f"{tag}{chance.randrange(10**9)} " + " ".join(str(chance.randrange(500)) for _ in range(60))
