"""What the campaigns share: running the command under limits, reading its metadata, and checking the accounts.

A campaign is run by hand against one binary, for as long as one likes; it is no part of the test suite. It needs
PostgreSQL's client programs and, for embedded stores, its server programs.
"""

import glob
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.parse

PIPELINE = """\
version: 1
name: campaign
collection: campaign
stores: {{ postgres: embedded, vectors: embedded, memo_mib: 0 }}
lifecycle: {{ max_delete_ratio: 1.0 }}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [corpus] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup, workers: 2, with: {{ max_seconds: {seconds}, max_memory: {memory} }} }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 64, overlap: 8 }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: 'stand-in:16' }} }}
  - {{ id: upsert,  uses: upsert,  from: embed, with: {{ window: 64 }} }}
"""


class Place:
    """A folder with a pipeline file and a corpus."""

    def __init__(self, binary, folder, seconds=20, memory="512MB"):
        self.binary, self.folder = os.path.abspath(binary), folder
        self.corpus = os.path.join(folder, "corpus")
        os.makedirs(self.corpus)
        # The embedded server runs as another user when this one is root, and has to reach its folder.
        os.chmod(folder, 0o755)
        with open(os.path.join(folder, "p.yaml"), "w") as file:
            file.write(PIPELINE.format(seconds=seconds, memory=memory))

    def start(self, *args):
        """Starts the command. Its output goes to files, so that nothing has to be read while it runs."""
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        environment = {**os.environ, "SEMANTIK_LOG": "error", "RUST_BACKTRACE": "0"}
        process = subprocess.Popen([self.binary, *args], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        process.out, process.err, process.began, process.peak = out, err, time.time(), 0
        return process

    def run(self, *args, limit=600):
        """Runs the command to its end, or kills it when its time is over."""
        process = self.start(*args)
        while process.poll() is None:
            process.peak = max(process.peak, resident(process.pid))
            if time.time() - process.began > limit:
                process.kill()
                process.wait()
                return Ended(process, hung=True)
            time.sleep(0.02)
        return Ended(process)

    def metadata(self):
        return Metadata(self.folder)

    def vector_folders(self):
        return glob.glob(os.path.join(self.folder, ".semantik/vectors/*"))


class Ended:
    """How a command ended."""

    def __init__(self, process, hung=False):
        self.hung, self.code, self.peak = hung, process.returncode, process.peak
        self.seconds = time.time() - process.began
        texts = []
        for file in (process.out, process.err):
            file.seek(0)
            texts.append(file.read().decode("utf8", "replace"))
        self.out, self.err = texts

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    def faults(self, codes):
        """What is wrong with the end itself, whatever the command was."""
        found = []
        if self.hung:
            found.append(f"did not end within {self.seconds:.0f} s")
        elif self.code not in codes:
            found.append(f"exit code {self.code}: {self.err.strip()[-300:]}")
        found += [line for line in self.err.splitlines() if "panicked" in line or "SIGSEGV" in line]
        return found


def family(pid):
    """A process with all its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found += [int(child) for child in children.read().split()]
        except OSError:
            pass
    return found


def resident(pid):
    """The most anonymous memory that one process of a family has, in MiB."""
    most = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/status") as status:
                kib = [int(line.split()[1]) for line in status if line.startswith("RssAnon")]
            most = max(most, sum(kib))
        except (OSError, ValueError):
            pass
    return most >> 10


class Metadata:
    """The embedded database of a folder; it is started if no command runs it."""

    def __init__(self, folder):
        self.data = os.path.join(folder, ".semantik/postgres/cluster/data")
        note = os.path.join(folder, ".semantik/postgres/cluster-is-at")
        if os.path.exists(note):
            self.data = open(note).read().strip() + "/data"
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

    def control(self, *args):
        command = [f"{self.bin}/pg_ctl", "-D", self.data, *args]
        owner = os.stat(self.data)
        as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        return subprocess.run(command, cwd=os.path.dirname(self.data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_owner).returncode

    def __enter__(self):
        self.started = self.control("status") != 0
        if self.started:
            self.control("start", "-s", "-w", "-l", "/dev/null")
        settings = open(self.data + "/semantik.conf").read()
        socket = re.search(r"unix_socket_directories = '(.*)'", settings)[1]
        self.url = f"postgres://semantik@localhost/semantik?host={socket}"
        return self

    def __exit__(self, *_):
        if self.started:
            self.control("stop", "-s", "-w", "-m", "fast")

    def rows(self, query):
        command = [f"{self.bin}/psql", self.url, "-XAtq", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1", "-c", query]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        text = done.stdout.decode("utf8", "replace").rstrip("\n")
        return [row.split("\x1f") for row in text.split("\x1e") if row.strip("\n")]

    def postmaster(self):
        """The process of the server, or None."""
        try:
            return int(open(self.data + "/postmaster.pid").readline())
        except (OSError, ValueError):
            return None


def kill_postmaster(folder):
    """Kills the server of a folder as a machine without memory would; its children notice and end."""
    pid = Metadata(folder).postmaster()
    if pid:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return pid


def contradictions(metadata, corpus):
    """What the metadata says against the files: each file has one location with its hash, and a document or a reason; no
    location is without a file, no document without a location, no content twice, and nothing is left half written."""
    found, known = [], {}
    locations = metadata.rows(
        "SELECT l.uri, coalesce(l.document_id::text, ''), coalesce(encode(l.content_hash, 'hex'), ''),"
        " coalesce(l.set_aside->>'reason', '') FROM document_locations l"
    )
    for uri, document, content, reason in locations:
        path = urllib.parse.unquote_to_bytes(uri.removeprefix("file://"))
        if path in known:
            found.append(f"two locations: {path!r}")
        known[path] = (document, content, reason)
    files = set()
    for base, _, names in os.walk(os.fsencode(corpus)):
        for name in names:
            path = base + b"/" + name
            if os.path.islink(path) or name.startswith(b"."):
                continue
            files.add(path)
            document, content, reason = known.get(path, (None, None, None))
            if document is None:
                found.append(f"no location: {path!r}")
            elif not document and not reason:
                found.append(f"neither document nor reason: {path!r}")
            elif content and content != hashlib.sha256(open(path, "rb").read()).hexdigest():
                found.append(f"another hash: {path!r}")
    found += [f"location without a file: {path!r}" for path in known if path not in files]
    for name, query in {
        "document without a location": "SELECT d.id FROM documents d WHERE d.status <> 'deleted' AND NOT EXISTS"
        " (SELECT FROM document_locations l WHERE l.document_id = d.id)",
        "content twice": "SELECT encode(content_hash, 'hex') FROM documents WHERE status <> 'deleted'"
        " GROUP BY collection_id, content_hash HAVING count(*) > 1",
        "write that was not settled": "SELECT document_id FROM document_writes",
        "points of a deleted document": "SELECT id FROM documents WHERE status IN ('deleted', 'failed') AND chunk_count > 0",
        "operation without an end": "SELECT id FROM operations WHERE status IN ('pending', 'processing')",
    }.items():
        found += [f"{name}: {row[0]}" for row in metadata.rows(query)]
    return found


def adds_up(report):
    """Whether every document of a report is accounted for."""
    counts = report["documents"]
    parts = ("stored", "unchanged", "duplicate", "set_aside")
    return counts["seen"] == sum(counts[part] for part in parts)


def table(head, rows):
    """Prints rows under a head, in columns."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)
