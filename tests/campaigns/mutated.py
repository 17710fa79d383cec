#!/usr/bin/env python3
"""Damaged files of every format through a binary: nothing ends the run, hangs it or fills the memory, and every file is
accounted for.

    tests/campaigns/mutated.py target/debug/semantik --seeds 1-10 --files 1000 --minutes 60

Each seed is one collection of so many files, made by mutating good samples: bits flipped, ends cut off, parts removed,
doubled, repeated, zeroed or taken from another sample, and tokens of the format put in. For containers (DOCX and the like)
half of the mutations are inside, so that the container stays whole. The run, a second run and `verify` are checked. Rows
with findings keep their folder.
"""

import argparse
import io
import os
import random
import shutil
import sys
import tempfile
import time
import zipfile

sys.dont_write_bytecode = True
from common import Place, adds_up, contradictions, table

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
WORDS = "heron river stone light paper cloud winter garden letter window engine copper".split()

# What has a meaning in a format: much of it in the wrong place is what parsers stumble over.
TOKENS = {
    "txt": [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1b[31m", b"\xf0\x9f\x98"],
    "md": [b"> ", b"[", b"](", b"```\n", b"**", b"| a |", b"<div>", b"- ", b"[r]: x\n"],
    "html": [b"<div>", b"</p>", b"<table>", b"<svg>", b"<template>", b"<!--", b"&#x110000;", b"<select>", b"<![CDATA["],
    "1": [b".de x\n", b".ds a \\*a\\*a\n", b".while 1 \\{\n", b".if 1 \\{\n", b"\\*[a]", b".so x.1\n", b".nr i +1\n", b"\\}\n"],
    "pdf": [b"obj\n", b"<< ", b"/Length 99999999 ", b"/Kids [1 0 R]", b"stream\n", b"/Filter [/FlateDecode /FlateDecode]", b"(", b"["],
    "docx": [b"<w:p>", b"<w:tbl>", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"<w:t>"],
    "eml": [b"Content-Type: multipart/mixed; boundary=x\n\n--x\n", b"=?utf-8?b?", b"Content-Transfer-Encoding: base64\n\n"],
    "csv": [b'"', b",", b"\n", b'""'],
    "json": [b"[", b"{", b'"', b"\\ud800", b"1e999"],
    "xml": [b"<a>", b"<!DOCTYPE x [<!ENTITY a '&b;'>]>", b"&a;", b"<![CDATA["],
}


def sentence(chance, words=40):
    return " ".join(chance.choice(WORDS) + str(chance.randrange(999)) for _ in range(words))


def samples(chance, extra):
    """Good documents: (ending, bytes). `extra` is a folder with more of them."""
    text = lambda: sentence(chance)
    paragraphs = lambda: "\n\n".join(text() for _ in range(8))
    made = [
        ("txt", paragraphs().encode()),
        ("txt", ("ü" + paragraphs()).encode("latin-1")),
        ("txt", paragraphs().encode("utf-16")),
        ("md", f"# {text()}\n\n{paragraphs()}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n{text()}\n```\n".encode()),
        ("html", f"<html><head><title>{text()}</title></head><body><h1>{text()}</h1><p>{paragraphs()}</p><table><tr><td>x</td></tr></table></body></html>".encode()),
        ("1", f".TH X 1\n.SH NAME\nx \\- {text()}\n.SH DESCRIPTION\n.PP\n{text()}\n.de m\n\\fB\\$1\\fR\n..\n.m a\n.ds s {text()}\n\\*s\n".encode()),
        ("eml", f"From: a@example.org\nSubject: {text()}\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n{text()}\n--b--\n".encode()),
        ("csv", "\n".join(",".join(text().split()[:4]) for _ in range(30)).encode()),
        ("json", ('{"a": [%s]}' % ", ".join(f'"{text()}"' for _ in range(5))).encode()),
        ("xml", f"<?xml version='1.0'?><a><b c='d'>{text()}</b></a>".encode()),
    ]
    for folder in filter(None, [DATA, extra]):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.getsize(path) < 4 << 20:
                made.append((name.rsplit(".", 1)[-1], open(path, "rb").read()))
    return made


def mutate(chance, content, other, tokens):
    """One to eight mutations of a document."""
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        size = max(len(content), 1)
        at = chance.randrange(size)
        end = min(size, at + 1 + int(chance.paretovariate(0.6) * 4))
        how = chance.randrange(9)
        if how == 0 and content:
            content[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del content[at:]
        elif how == 2:
            del content[at:end]
        elif how == 3:
            content[at:at] = content[at:end]
        elif how == 4:
            part = bytes(content[at:end]) or b"x"
            content[at:at] = part * min(chance.choice([10, 1000, 50_000]), (1 << 20) // len(part))
        elif how == 5:
            content[at:end] = bytes(end - at)
        elif how == 6:
            begin = chance.randrange(max(len(other), 1))
            content[at:end] = other[begin : begin + chance.randrange(1, 4000)]
        elif how == 7 and tokens:
            token = chance.choice(tokens)
            content[at:at] = token * min(chance.choice([1, 3, 200, 100_000]), (1 << 20) // len(token))
        elif how == 8:
            content[at:end] = chance.randbytes(end - at)
    return bytes(content)


def mutated(chance, kinds):
    ending, content = chance.choice(kinds)
    other = chance.choice(kinds)[1]
    tokens = TOKENS.get(ending, [])
    if content.startswith(b"PK") and chance.random() < 0.5:
        with zipfile.ZipFile(io.BytesIO(content)) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        inside = chance.choice(sorted(members))
        members[inside] = mutate(chance, members[inside], other, tokens)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        return ending, packed.getvalue()
    return ending, mutate(chance, content, other, tokens)


def one_seed(options, seed):
    chance = random.Random(seed)
    folder = tempfile.mkdtemp(prefix=f"mutated-{seed}-", dir=options.folder)
    place = Place(options.binary, folder, seconds=options.seconds, memory=options.memory)
    kinds = samples(chance, options.samples)
    for number in range(options.files):
        ending, content = mutated(chance, kinds)
        with open(os.path.join(place.corpus, f"{number:05}.{ending}"), "wb") as file:
            file.write(content)

    run = place.run("run", "p.yaml", "--json", limit=options.limit)
    found, report = run.faults({0, 2}), run.json()
    if report is None:
        found.append("no report")
    elif not adds_up(report) or report["documents"]["seen"] != options.files:
        found.append(f"does not add up: {report['documents']}")
    if run.peak > options.most:
        found.append(f"a process had {run.peak} MiB")
    if not run.hung:
        again = place.run("run", "p.yaml", "--json", limit=options.limit)
        found += again.faults({0, 2})
        second = again.json()
        if second and second["documents"]["stored"]:
            found.append(f"a second run stored {second['documents']['stored']}")
        found += place.run("verify", "p.yaml", limit=options.limit).faults({0})
        with place.metadata() as metadata:
            found += contradictions(metadata, place.corpus)
    counts = report["documents"] if report else {}
    row = [seed, options.files, f"{run.seconds:.1f}", run.peak, *(counts.get(key, "-") for key in ("stored", "duplicate", "set_aside")), len(found)]
    if found:
        print(f"seed {seed} in {folder}:", *found[:20], sep="\n  ", file=sys.stderr, flush=True)
    else:
        shutil.rmtree(folder)
    return row, bool(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seeds", default="1-10", help="the first and the last seed")
    parser.add_argument("--files", type=int, default=1000, help="files for each seed")
    parser.add_argument("--minutes", type=float, default=60, help="no seed is begun after this time")
    parser.add_argument("--limit", type=float, default=900, help="seconds for one command")
    parser.add_argument("--seconds", type=int, default=20, help="`max_seconds` of `extract`")
    parser.add_argument("--memory", default="512MB", help="`max_memory` of `extract`")
    parser.add_argument("--most", type=int, default=1500, help="MiB that a process may have")
    parser.add_argument("--samples", help="a folder with more good documents")
    parser.add_argument("--folder", help="where the collections are made")
    options = parser.parse_args()
    first, last = (int(seed) for seed in options.seeds.split("-"))
    began, rows, failed = time.time(), [], 0
    for seed in range(first, last + 1):
        if time.time() - began > options.minutes * 60:
            print(f"time is over before seed {seed}", file=sys.stderr)
            break
        row, has_findings = one_seed(options, seed)
        rows.append(row)
        failed += has_findings
        print(f"seed {seed}: {row}", file=sys.stderr, flush=True)
    table(["seed", "files", "seconds", "MiB", "stored", "duplicate", "set aside", "findings"], rows)
    sys.exit(1 if failed or not rows else 0)


if __name__ == "__main__":
    main()
