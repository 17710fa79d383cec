#!/usr/bin/env python3
"""Does the first hit of a search for an identifier, a number or a rare name contain it?

    python3 benches/identifiers.py DOCS FILE [--bin SEMANTIK] [--count 200] [--seed 1] [--out TABLE.json]

DOCS is a folder of texts or HTML pages, FILE the pipeline file of their collection, which must be
indexed. Draws terms that occur at most twice in all documents: at most two chunks contain each
occurrence, since an overlap repeats it once, so at most four chunks contain a term. Starts a server
for the collection and asks it for each term in every mode. A term that is in none of the first
hundred hits of any mode is not in the indexed text (a menu of a page, for example) and is replaced
by the next one; their number is reported.
"""

import argparse
import collections
import gzip
import hashlib
import html.parser
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

MODES = ("dense", "sparse", "hybrid")
PASSWORD = "correct horse battery staple 9"

# A letter and a digit, an inner underscore or an inner capital: pthread_mutex_lock, utf8, NoFreeSlot.
IDENTIFIER = re.compile(r"(?<![\w.])[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+(?![\w.])|(?<!\w)[A-Z][a-z]+(?:[A-Z][a-z]+)+(?!\w)")
NUMBER = re.compile(r"(?<![\w.,/:-])\d{4,9}(?![\w.,/:-])|(?<![\w.,/:-])\d+\.\d+\.\d+(?![\w.,/:-])")
NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?![\w'-])")
KINDS = {"identifier": IDENTIFIER, "number": NUMBER, "name": NAME}


class Text(html.parser.HTMLParser):
    """The text of a page without scripts and styles."""

    def __init__(self):
        super().__init__()
        self.parts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style", "head")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "head")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def text_of(path):
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    text = data.decode("utf-8", "replace")
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.I):
        reader = Text()
        reader.feed(text)
        text = " ".join(reader.parts)
    return text


def candidates(docs, seed):
    """Terms by kind that occur at most twice in all documents, in random order."""
    counts = collections.Counter()
    of_kind = collections.defaultdict(set)
    words = collections.Counter()
    for path in sorted(path for path in docs.rglob("*") if path.is_file()):
        text = text_of(path)
        words.update(word.lower() for word in re.findall(r"\w+(?:[._]\w+)*", text))
        for kind, pattern in KINDS.items():
            for term in pattern.findall(text):
                counts[term] += 1
                of_kind[kind].add(term)
    order = lambda term: hashlib.sha256(f"{seed} {term}".encode()).digest()  # noqa: E731
    rare = lambda term: counts[term] <= 2 and words[term.lower()] <= 2  # noqa: E731
    return {kind: sorted(filter(rare, terms), key=order) for kind, terms in of_kind.items()}


def contains(hit, term):
    """As a whole word, ignoring case, in the passage, its headings or its title."""
    pattern = rf"(?<!\w){re.escape(term)}(?!\w)"
    fields = (hit.get("text"), hit.get("headings"), hit.get("title"))
    return any(field and re.search(pattern, field, re.I) for field in fields)


def call(url, body=None, token=None):
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    for _ in range(5):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise SystemExit(f"{url}: {error.code} {error.read().decode()}") from error
            time.sleep(1)
    raise SystemExit(f"{url}: no answer")


class Server:
    """A server of the collection, with an account if it is the first one."""

    def __init__(self, binary, file, port):
        self.base = f"http://127.0.0.1:{port}/api/v1"
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="semantik-identifiers-"))
        os.chmod(self.work, 0o755)
        token = self.work / "setup-token"
        command = [binary, "serve", file, "--listen", f"127.0.0.1:{port}", "--rate", "search=0",
                   "--setup-token-file", token]
        self.log = (self.work / "log").open("w")
        self.child = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.base}/health/ready", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        else:
            self.stop()
            raise SystemExit(f"the server did not become ready: {self.work / 'log'}")
        if token.exists():
            call(f"{self.base}/setup", {"token": token.read_text().strip(), "username": "admin",
                                        "email": "admin@example.org", "password": PASSWORD})
        self.sign_in()

    def sign_in(self):
        account = {"username": "admin", "password": PASSWORD}
        self.token, self.since = call(f"{self.base}/sessions", account)["access_token"], time.time()

    def search(self, query, mode):
        if time.time() - self.since > 600:
            self.sign_in()
        asked = {"query": query, "mode": mode, "k": 100, "highlight": False}
        return call(f"{self.base}/search", asked, self.token)["hits"]

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=pathlib.Path)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--bin", default="semantik")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=18093)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    queues = {kind: iter(terms) for kind, terms in sorted(candidates(args.docs, args.seed).items())}
    first = collections.defaultdict(list)
    lost, absent, asked = [], 0, collections.Counter()
    server = Server(args.bin, args.file, args.port)
    try:
        while sum(asked.values()) < args.count and queues:
            for kind in list(queues):
                term = next(queues[kind], None)
                if term is None:
                    del queues[kind]
                    continue
                if sum(asked.values()) >= args.count:
                    break
                hits = {mode: server.search(term, mode) for mode in MODES}
                if not any(contains(hit, term) for found in hits.values() for hit in found):
                    absent += 1
                    continue
                asked[kind] += 1
                for mode, found in hits.items():
                    is_first = bool(found) and contains(found[0], term)
                    first[mode, kind].append(is_first)
                    if not is_first and mode == "hybrid":
                        lost.append(term)
    finally:
        server.stop()
    if not asked:
        sys.exit("no term that occurs at most twice is in the collection")
    table = {}
    print(f"{sum(asked.values())} terms ({', '.join(f'{n} {kind}s' for kind, n in sorted(asked.items()))}), "
          f"{absent} others are not in the indexed text; share of first hits with the term:")
    for mode in MODES:
        every = [hit for kind in asked for hit in first[mode, kind]]
        shares = {kind: sum(first[mode, kind]) / len(first[mode, kind]) for kind in sorted(asked)}
        table[mode] = {"all": sum(every) / len(every)} | shares
        print(f"  {mode:7} " + "  ".join(f"{kind} {share:.3f}" for kind, share in table[mode].items()))
    print(f"lost by hybrid: {', '.join(lost) or 'none'}")
    if args.out:
        result = {"terms": dict(asked), "absent": absent, "first": table, "lost": lost}
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
