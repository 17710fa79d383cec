"""Judged queries from manual pages: the one-line NAME of a page is the query, and the page is
relevant.

The line is removed from the page, so that it does not match itself; lines that several pages share
are skipped. Reads the Debian package `manpages-dev` (`.ci/setup corpus manpages-dev`); writes
`corpus/` and `judged.jsonl`.

    python3 benches/judged/manpages.py FOLDER [PAGES] [QUESTIONS]
"""

import collections
import gzip
import json
import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / ".cache/corpora/manpages-dev/usr/share/man"

# The NAME section: names, a dash, a line.
NAME = re.compile(r'(?ms)^(\.SH "?NAME"?\n)(.*?)(?=^\.SH )')


def described(text):
    """The NAME line of a page, and the page without it."""
    found = NAME.search(text)
    if not found:
        return None
    body = re.sub(r"(?m)^\.\\\".*\n", "", found[2])
    names, dash, line = body.partition(r"\-")
    if not dash:
        return None
    line = re.sub(r"\\f[BIRP]|\\&|^\.[A-Z]+ ", "", line)
    line = " ".join(line.replace(r"\-", "-").replace("\\", " ").split())
    without = text[: found.start(2)] + names.strip() + "\n" + text[found.end(2) :]
    return line, without


def main():
    place = pathlib.Path(sys.argv[1])
    most_pages = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    most_questions = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    pages = {}
    for path in sorted(PAGES.glob("man[23]/*.gz")):
        # Other names of a page are links.
        if path.is_symlink():
            continue
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        # Skips pages that only include another page.
        if text.lstrip().startswith(".so "):
            continue
        found = described(text)
        if found:
            pages[f"{path.parent.name}/{path.name.removesuffix('.gz')}"] = found
    shared = collections.Counter(line for line, _ in pages.values())
    chance = random.Random(7)
    chosen = sorted(chance.sample(sorted(pages), min(most_pages, len(pages))))
    questions = [it for it in chosen if shared[pages[it][0]] == 1 and len(pages[it][0].split()) > 2]
    questions = sorted(chance.sample(questions, min(most_questions, len(questions))))
    for name in chosen:
        path = place / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[name][1])
    with open(place / "judged.jsonl", "w") as judged:
        for name in questions:
            line = {"id": name, "query": pages[name][0], "relevant": {name: 1}}
            judged.write(json.dumps(line) + "\n")
    print(f"{len(chosen)} pages, {len(questions)} questions")


main()
