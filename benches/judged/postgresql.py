"""Judged queries from the index of the PostgreSQL manual: a term is the query, and the pages that
its index entry links to are relevant.

Reads the Debian package `postgresql-doc-15` (`.ci/setup corpus postgresql-doc-15`); writes
`corpus/` (without the index and the tables of contents) and `judged.jsonl`.

    python3 benches/judged/postgresql.py FOLDER [PAGES] [QUESTIONS]
"""

import html
import json
import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ROOT / ".cache/corpora/postgresql-doc-15/usr/share/doc/postgresql-doc-15/html"


# An entry, or the start or end of nested entries.
TOKEN = re.compile(r"(?s)<dt[^>]*>(.*?)</dt>|(<dd>)|(</dd>)")
LINK = re.compile(r'<a class="indexterm" href="([^"#]*)')


def terms(index):
    """Terms of the index with the linked pages; a nested term includes its parents."""
    found, above, last = {}, [], ""
    for entry, opens, closes in TOKEN.findall(index):
        if opens:
            above.append(last)
        elif closes:
            above.pop()
        else:
            # The text before the first link and before "(see …".
            words = re.split(r", <a|\(see", entry)[0]
            last = " ".join(html.unescape(re.sub(r"<[^>]*>", "", words)).split())
            pages = set(LINK.findall(entry))
            if pages:
                found.setdefault(" ".join([*above, last]), set()).update(pages)
    return found


def main():
    place = pathlib.Path(sys.argv[1])
    most_pages = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    most_questions = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    index = terms((PAGES / "bookindex.html").read_text())
    chance = random.Random(7)
    pages = sorted(it.name for it in PAGES.glob("*.html"))
    pages = [it for it in pages if it not in ("bookindex.html", "index.html", "biblio.html")]
    # Natural queries: several words, and no names of functions or parameters.
    asked = {
        term: found & set(pages)
        for term, found in sorted(index.items())
        if len(term.split()) > 1 and len(found) <= 3 and not re.search(r"[_.]|parameter|variable", term)
    }
    asked = {term: found for term, found in asked.items() if found}
    questions = sorted(chance.sample(sorted(asked), min(most_questions, len(asked))))
    chosen = set().union(*(asked[term] for term in questions))
    others = sorted(set(pages) - chosen)
    chosen |= set(chance.sample(others, max(0, min(len(others), most_pages - len(chosen)))))
    for name in sorted(chosen):
        path = place / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((PAGES / name).read_bytes())
    with open(place / "judged.jsonl", "w") as judged:
        for term in questions:
            line = {"query": term, "relevant": {name: 1 for name in sorted(asked[term])}}
            judged.write(json.dumps(line) + "\n")
    print(f"{len(chosen)} pages, {len(questions)} questions")


main()
