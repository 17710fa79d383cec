"""Processor time that one anonymous client can cost the server per minute.

A server with default rate limits has one public collection. For each kind of request, one client
without credentials, from one address, repeats the most expensive known request of that kind; the
benchmark counts the processor seconds of the server and its database. Another client requests
`/health/live` concurrently: its maximum latency shows whether one client blocks others.
`anonymous_cost.py quick` measures five seconds per kind, scaled to a minute.

To compare two versions, run this file once per version with SEMANTIK_BINARY set. A server that
exits during a measurement is reported and restarted.
"""

import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import harness

SECONDS = 5 if "quick" in sys.argv else 60
CONNECTIONS = 8
DOCUMENTS = 200 if "quick" in sys.argv else 2_000
BINARY = os.environ.get("SEMANTIK_BINARY", str(harness.SEMANTIK))
PASSWORD = "correct horse battery"
TICKS = os.sysconf("SC_CLK_TCK")
WORDS = "apple bridge candle dragon engine forest guitar harbor island jacket kettle lantern".split()


def corpus(place):
    folder = place / "corpus"
    folder.mkdir()
    for number in range(DOCUMENTS):
        words = (WORDS[(number * 7 + n * n) % len(WORDS)] for n in range(400))
        (folder / f"{number:05}.txt").write_text(f"document {number}. " + " ".join(words))
    # Long enough to make its text expensive.
    (folder / "long.txt").write_text(" ".join(WORDS * 20_000))


class Server:
    """The server of a place, with default rate limits."""

    def __init__(self, place):
        self.place, self.log, token = place, place / "log", place / "token"
        self.child = subprocess.Popen(
            [BINARY, "serve", "pipeline.yaml", "--listen", "127.0.0.1:0", "--setup-token-file", token],
            cwd=place, stderr=open(self.log, "w"))
        while not (found := re.search(r"serving on http://(\S+)", self.log.read_text())):
            if self.child.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.05)
        self.address = found.group(1)
        if token.exists():
            root = {"token": token.read_text().strip(), "username": "root", "email": "root@here", "password": PASSWORD}
            self.ask("POST", "/setup", root)
            token.unlink()

    def ask(self, method, path, body=None, key=None):
        """Status and response; on a new connection."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            return ask(connection, method, path, body, key)
        finally:
            connection.close()

    def cpu(self):
        """Processor seconds of the server, its children and its database (not a child)."""
        roots = [self.child.pid]
        for file in self.place.glob(".semantik/**/postmaster.pid"):
            roots.append(int(file.read_text().split()[0]))
        return sum(spent(pid) for pid in family(roots))

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def ask(connection, method, path, body=None, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, f"/api/v1{path}", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def family(roots):
    """Processes with all their descendants."""
    parents = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = set(roots)
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def spent(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # utime, stime, cutime, cstime.
    return sum(int(field) for field in fields[11:15]) / TICKS


def kinds(collection, document):
    """Requests by name: method, path, body of the n-th one. The server rejects some of them."""
    question = lambda n: " ".join(WORDS[(n + i) % len(WORDS)] for i in range(6)) + f" {n}"
    search = lambda n, **more: ("POST", "/search", {"query": question(n), **more})
    braces = lambda depth: "{" * depth + "a" + "}" * depth
    wide = {"or": [{"path": f"*{n}*"} for n in range(48_000)]}
    patterns = {"or": [{"path": {"glob": f"{n}" + "[a-z]*" * 75}} for n in range(33)]}
    here = f"/collections/{collection}"
    return {
        "search": lambda n: search(n),
        "search, k 1000": lambda n: search(n, k=1000),
        "search, long question": lambda n: search(n, query=(question(n) + " ") * 200),
        "search, 10,000 candidates": lambda n: search(n, k=1000, candidates=10_000),
        "search, exact": lambda n: search(n, k=1000, exact=True),
        "search, large offset by document": lambda n: search(n, k=1000, offset=10_000, per_document=100),
        "search, by document": lambda n: search(n, k=100, per_document=1),
        "search, patterns within the limits": lambda n: search(n, filter=patterns),
        "search, 48,000 conditions": lambda n: search(n, filter=wide),
        "search, braces 9,000 deep": lambda n: search(n, filter={"path": {"glob": braces(9_000)}}),
        "search, braces 20,000 deep": lambda n: search(n, filter={"path": {"glob": braces(20_000)}}),
        "search, 10,000 values": lambda n: search(n, filter={"language": ["en"] * 10_000}),
        "body of 1 MB": lambda n: search(n, filter={"x": "y" * 1_000_000}),
        "login": lambda n: ("POST", "/sessions", {"username": f"nobody{n}", "password": "a wrong password"}),
        "bogus keys": lambda n: ("GET", "/users/me", None, f"smk_abcdefgh_{n:043}"),
        "bogus refresh tokens": lambda n: ("POST", "/sessions/refresh", {"refresh_token": f"{n:043}"}),
        "documents": lambda n: ("GET", f"{here}/documents?limit=1000", None),
        "chunks": lambda n: ("GET", f"{here}/documents/{document}/chunks?limit=1000", None),
        "text": lambda n: ("GET", f"{here}/documents/{document}/text", None),
        "facets": lambda n: ("GET", f"{here}/facets", None),
        "why": lambda n: ("GET", f"{here}/why?document={document}", None),
        "operations": lambda n: ("GET", "/operations?limit=1000", None),
        "description of the API": lambda n: ("GET", "/openapi.json", None),
        "health": lambda n: ("GET", "/health/ready", None),
        "no such path": lambda n: ("GET", f"/nothing/{n}", None),
    }


class Other(threading.Thread):
    """Another client that sends cheap requests and records the maximum latency."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.longest = server, threading.Event(), 0.0
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                self.server.ask("GET", "/health/live")
            except OSError:
                return
            self.longest = max(self.longest, time.monotonic() - began)


def measured(server, request, address):
    statuses, lock, number = {}, threading.Lock(), iter(range(10**9))
    until = time.monotonic() + SECONDS

    def client():
        # Each kind has its own client, so that no rate limit is used up by the previous kind.
        connection = http.client.HTTPConnection(server.address, timeout=120, source_address=(address, 0))
        while time.monotonic() < until:
            with lock:
                n = next(number)
            try:
                status, _ = ask(connection, *request(n))
            except (OSError, http.client.HTTPException):
                status = "no response"
                connection.close()
                if server.child.poll() is not None:
                    break
            with lock:
                statuses[status] = statuses.get(status, 0) + 1
            if status == 429:
                # Without delay: a rejection costs the server too, but a client with one core can
                # afford it.
                time.sleep(0.002)
        connection.close()

    before, other = server.cpu(), Other(server)
    clients = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    began = time.monotonic()
    [it.start() for it in clients]
    [it.join() for it in clients]
    took = time.monotonic() - began
    cost = server.cpu() - before
    other.over.set()
    other.join()
    return cost * 60 / took, statuses, other.longest


def main():
    place = harness.folder()
    corpus(place)
    harness.write_pipeline(place, place / "corpus", "stand-in:384")
    subprocess.run([BINARY, "--log", "error", "run", "pipeline.yaml"], cwd=place, check=True, stdout=subprocess.DEVNULL)
    server = Server(place)
    session = json.loads(server.ask("POST", "/sessions", {"username": "root", "password": PASSWORD})[1])["access_token"]
    collection = json.loads(server.ask("GET", "/collections", key=session)[1])["items"][0]["id"]
    server.ask("PATCH", f"/collections/{collection}", {"is_public": True}, session)
    listed = json.loads(server.ask("GET", f"/collections/{collection}/documents?limit=1000", key=session)[1])["items"]
    document = max(listed, key=lambda it: it["size_bytes"])["id"]
    rows = []
    for number, (name, request) in enumerate(kinds(collection, document).items()):
        if server.child.poll() is not None:
            server = Server(place)
        cost, statuses, longest = measured(server, request, f"127.0.1.{number + 1}")
        said = ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items(), key=str))
        ended = " **the server exited**" if server.child.poll() is not None else ""
        rows.append((name, f"{cost:.1f}", f"{longest * 1000:,.0f}", said + ended))
        print(*rows[-1], file=sys.stderr)
    if server.child.poll() is None:
        server.stop()
    shutil.rmtree(place)
    print(f"# Server cost of one anonymous client\n\n{datetime.date.today()}, {harness.machine()}, "
          f"{harness.BUILD.name} build; {len(listed):,} documents, embedded stores, stand-in vectors; default rate limits, one address, "
          f"{CONNECTIONS} connections, {SECONDS} s per kind. The server closes a connection if it rejects a body before reading it; "
          "the client sees no response.\n")
    harness.table(("request", "server processor seconds per minute", "maximum latency of another client, ms", "responses"), rows)


main()
