"""Searches per second and latency of a server, and the time of each part of a search.

`load.py` searches 100,000 chunks; `load.py quick` searches 2,000 for a short time; `load.py index`
only builds the index, which stays in `.cache/load-…/` for later runs. wrk on this machine sends
requests to a server: with 1, 8 and 32 connections, in each mode, with queries that are sent once
(cold) and with a few repeated queries (cached). Queries are word sequences of the corpus.
The store alone is measured in a process without HTTP and without search code, with the same
queries, by `examples/bare.rs`; a Qdrant server given by QDRANT_URL is measured with its REST API
and wrk.
"""

import datetime
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import harness
import texts

QUICK = "quick" in sys.argv
CHUNKS, SECONDS, BARE_SECONDS = (2_000, 2, 1) if QUICK else (100_000, 10, 5)
MODES, CONNECTIONS = ("dense", "sparse", "hybrid"), (1, 8, 32)
# Upper bound of queries sent in one round, and number of repeated queries.
MOST, FEW = (5_000, 10) if QUICK else (40_000, 50)
QDRANT = os.environ.get("QDRANT_URL")
DTYPE = "bfloat16" if "amx_bf16" in open("/proc/cpuinfo").read() else "int8"
PLACE = harness.ROOT / ".cache" / f"load-{'qdrant-' if QDRANT else ''}{CHUNKS}"
PASSWORD = "correct horse battery"
SCRIPT = harness.ROOT / "benches/load.lua"

PIPELINE = """\
version: 1
name: load
collection: load
{stores}nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [corpus] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 64, overlap: 0 }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: '{model}', dtype: {dtype} }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"""


def sentences():
    """The sentences of each page."""
    for paragraphs in texts.pages():
        found = [it for it in re.split(r"(?<=[.;:])\s+", " ".join(paragraphs)) if it]
        if found:
            yield found


def index():
    """Builds a missing index. Repeats the pages in another order until there are enough chunks."""
    stores = f"stores: {{ vectors: {{ qdrant: '{QDRANT}' }} }}\n" if QDRANT else ""
    if (PLACE / "chunks").exists():
        return int((PLACE / "chunks").read_text())
    # An interrupted build: the cache has the vectors embedded so far.
    for part in ("corpus", ".semantik/postgres", ".semantik/vectors"):
        shutil.rmtree(PLACE / part, ignore_errors=True)
    (PLACE / "corpus").mkdir(parents=True)
    (PLACE / "set-up").unlink(missing_ok=True)
    os.chmod(PLACE, 0o755)
    (PLACE / "pipeline.yaml").write_text(PIPELINE.format(stores=stores, model=harness.MODEL, dtype=DTYPE))
    pages, chance, chunks, words = list(sentences()), random.Random(3), 0, 0
    for copy in range(100):
        (PLACE / "corpus" / str(copy)).mkdir()
        for number, page in enumerate(pages):
            # About the number of words of a chunk; the last pages of the last copy are not needed.
            if words > (CHUNKS - chunks) * 38 + 2_000:
                break
            text = " ".join(page if copy == 0 else chance.sample(page, len(page)))
            words += len(text.split())
            (PLACE / "corpus" / str(copy) / f"{number}.txt").write_text(text)
        report = harness.run(PLACE)
        chunks, words = chunks + report["chunks"], 0
        print(f"{chunks:,} chunks, {report['seconds']:.0f} s", file=sys.stderr)
        if chunks >= CHUNKS:
            break
    (PLACE / "chunks").write_text(str(chunks))
    return chunks


def questions(count):
    """Distinct sequences of 4 to 10 words of the corpus."""
    chance, pages, found = random.Random(5), [" ".join(page).split() for page in sentences()], {}
    pages = [page for page in pages if len(page) > 20]
    weights = [len(page) for page in pages]
    while len(found) < count:
        for page in chance.choices(pages, weights, k=10_000):
            at = chance.randrange(len(page) - 10)
            found[" ".join(page[at: at + chance.randint(4, 10)])] = None
    found = list(found)[:count]
    chance.shuffle(found)
    return found


class Server:
    def __init__(self):
        self.log, token = PLACE / "log", PLACE / "setup-token"
        self.child = subprocess.Popen(
            [harness.SEMANTIK, "serve", "pipeline.yaml", "--listen", "127.0.0.1:0", "--setup-token-file", token,
             *(word for name in ("light", "login", "search", "look", "change") for word in ("--rate", f"{name}=0"))],
            cwd=PLACE, stderr=open(self.log, "w"))
        while not (found := re.search(r"serving on (\S+)", self.log.read_text())):
            if self.child.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.05)
        self.url = found.group(1)
        account = {"username": "root", "password": PASSWORD}
        if not (PLACE / "set-up").exists():
            setup = {"token": token.read_text().strip(), "email": "root@example.org", **account}
            self.post("setup", setup)
            (PLACE / "set-up").touch()
        self.session = self.post("sessions", account)["access_token"]
        self.key = self.post("keys", {"name": "load", "scopes": ["search"]}, self.session)["secret"]

    def ask(self, path, body=None, key=None):
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        body = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/v1/{path}", body, headers)).read()

    def post(self, path, body, key=None):
        return json.loads(self.ask(path, body, key))

    def parts(self):
        """Histograms of each part of a search: count, sum and buckets."""
        # A session lasts minutes; the measurement may last longer.
        self.session = self.post("sessions", {"username": "root", "password": PASSWORD})["access_token"]
        parts = {}
        for line in self.ask("metrics", key=self.session).decode().splitlines():
            found = re.match(r'semantik_search_part_seconds_(\w+)\{(.*)\} (\S+)', line)
            if found:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2]))
                parts[labels["part"], found[1], float(labels.get("le", 0))] = float(found[3])
        return parts

    def stop(self):
        self.child.terminate()
        self.child.wait()


def wrk(url, bodies, key, connections, seconds, how):
    said = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", SCRIPT, url, "--", bodies, key, how],
        check=True, capture_output=True, text=True).stdout
    found = json.loads(said.rsplit("RESULT ", 1)[1])
    if found["status"] or found["broken"]:
        raise SystemExit(f"some requests failed: {found}")
    return found


def share_below(before, after, part, limit):
    """The share of times of a part up to a limit in seconds, and the approximate 99th percentile in
    ms."""
    count = lambda le: after[part, "bucket", le] - before.get((part, "bucket", le), 0)
    steps = sorted(le for name, what, le in after if (name, what) == (part, "bucket"))
    whole, last, below = count(steps[-1]), 0.0, 0.0
    for le in steps:
        now = count(le)
        if now >= 0.99 * whole:
            p99 = le if le == float("inf") else last + (le - last) * (0.99 * whole - below) / max(1, now - below)
            break
        last, below = le, now
    return count(limit) / max(1, whole), p99 * 1e3


def server_rows(all_questions):
    server, rows, at = Server(), [], 0
    url, bodies = f"{server.url}/api/v1/search", PLACE / "bodies"
    try:
        for mode in MODES:
            body = lambda question: json.dumps({"query": question, "mode": mode})
            few = all_questions[:FEW]
            for question in few:
                found = server.post("search", json.loads(body(question)), server.key)
                assert found["hits"] and not found["failed"], found
            for how in ("once", "again"):
                for connections in CONNECTIONS:
                    if how == "once":
                        asked = all_questions[FEW + at: FEW + at + MOST]
                    else:
                        asked = few
                    bodies.write_text("".join(body(it) + "\n" for it in asked))
                    before = server.parts()
                    found = wrk(url, bodies, server.key, connections, SECONDS, how)
                    after = server.parts()
                    if how == "once":
                        # The first requests of the file were sent; the rest were not.
                        at += min(len(asked), found["requests"] + connections)
                    mean = lambda part: (after[part, "sum", 0] - before.get((part, "sum", 0), 0)) / max(
                        1, after[part, "count", 0] - before.get((part, "count", 0), 0)) * 1e3
                    share, p99 = share_below(before, after, "own", 0.001)
                    rows.append((
                        mode, "cold" if how == "once" else "cached", connections, f"{found['requests'] / found['seconds']:,.0f}",
                        f"{found['p50']:.2f}", f"{found['p95']:.2f}", f"{found['p99']:.2f}", f"{mean('embed'):.3f}",
                        f"{mean('store'):.3f}", f"{mean('own'):.3f}", f"{p99:.2f}", f"{share:.2%}",
                    ))
                    print(*rows[-1], file=sys.stderr)
        status = open(f"/proc/{server.child.pid}/status").read()
        memory = {name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) // 1024 for name in ("VmHWM", "RssAnon")}
    finally:
        server.stop()
    return rows, memory


class Bare:
    """`examples/bare.rs`."""

    def __init__(self, some):
        if QDRANT:
            vectors = "-"
        else:
            vectors = max((PLACE / ".semantik/vectors").iterdir(), key=os.path.getmtime)
        file = PLACE / "questions"
        file.write_text("".join(json.dumps(it) + "\n" for it in some))
        self.child = subprocess.Popen([harness.BUILD / "examples/bare", harness.MODEL, DTYPE, vectors, file],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())


def bare_rows(some):
    bare, rows, at = Bare(some), [], 0
    for mode in MODES:
        bodies = PLACE / f"qdrant-{mode}"
        if QDRANT:
            bare.say(f"write {mode} {bodies}")
            names = json.loads(urllib.request.urlopen(f"{QDRANT}/collections").read())["result"]["collections"]
            names = [it["name"] for it in names if "load" in it["name"]]
            url = f"{QDRANT}/collections/{names[0]}/points/query"
        for connections in CONNECTIONS:
            if QDRANT:
                found = wrk(url, bodies, "-", connections, BARE_SECONDS, "again")
                found["rate"] = found["requests"] / found["seconds"]
            else:
                found = bare.say(f"ask {mode} {connections} {BARE_SECONDS} {at}")
                at += found["count"]
            rows.append((mode, connections, f"{found['rate']:,.0f}", f"{found['p50']:.2f}", f"{found['p95']:.2f}",
                         f"{found['p99']:.2f}"))
            print(*rows[-1], file=sys.stderr)
    bare.child.stdin.close()
    bare.child.wait()
    return rows


def main():
    chunks = index()
    if "index" in sys.argv:
        return
    asked = questions(FEW + MOST * len(CONNECTIONS) * len(MODES))
    rows, memory = server_rows(asked)
    bare = bare_rows(asked[: 500 if QUICK else 4_000])
    store = "a Qdrant server" if QDRANT else "embedded vectors"
    print(f"# Search under load\n\n{datetime.date.today()}, {harness.machine()}, {harness.BUILD.name} build; {chunks:,} chunks of "
          f"at most 64 tokens, all-MiniLM-L6-v2 in {DTYPE}, {store}; server, wrk and stores on the same cores; "
          f"{SECONDS} s per line\n")
    harness.table(("mode", "queries", "connections", "q/s", "P50 ms", "P95 ms", "P99 ms", "embedding ms", "store ms", "own code ms",
                   "own code P99 ms", "own code within 1 ms"), rows)
    print("\nEmbedding, store and own code are means over the requests, by `semantik_search_part_seconds`: embedding and store are "
          "the times that a query waits for them, own code is the rest of the time between request head and response.\n")
    print(f"Memory of the server at the end: {memory['RssAnon']} MiB anonymous, {memory['VmHWM']} MiB peak "
          "resident.\n\n## The store alone\n\nThe same queries without HTTP and search code, with precomputed query vectors.\n")
    harness.table(("mode", "connections", "q/s", "P50 ms", "P95 ms", "P99 ms"), bare)


main()
