"""Search quality by precision of the model. Manual pages, found by their one-line description.

The line under NAME is the query; the page without that section is the target: its first chunks, of
which the best one counts. Search is exact, by cosine, with queries and pages embedded in the same
precision.
"""

import datetime
import gzip
import re
import shutil
import sys

import harness
import numpy
import texts

PAGES = 120 if "quick" in sys.argv else 1000
CHUNKS = 3
DTYPES = ("float32", "bfloat16", "int8")


def pages():
    for path in sorted((harness.CORPORA / "manpages-dev").rglob("*.gz")):
        if not path.is_file() or path.is_symlink():
            continue
        source = gzip.open(path, "rt", errors="replace").read()
        name = re.search(r'^\.SH "?NAME"?\s*\n(.*?)^\.SH', source, flags=re.M | re.S)
        if not name or "\\-" not in name.group(1):
            continue
        question = plain(name.group(1).split("\\-", 1)[1])
        body = plain(source[name.end() - 3:])
        if len(question) > 15 and len(body) > 300:
            yield question, body


def plain(source):
    text = re.sub(r"^[.']\\\".*$", "", source, flags=re.M)
    text = re.sub(r"^[.'][A-Za-z]+ ?", "", text, flags=re.M)
    return texts.squeezed(re.sub(r"\\f.|\\[-&|]|\\\(..", "", text).replace("\\", ""))


def main():
    place = harness.folder()
    tokenizer = texts.tokenizer()
    questions, chunks, page_of, seen = [], [], [], set()
    for question, body in pages():
        if question in seen:
            continue
        seen.add(question)
        offsets = tokenizer.encode(body, add_special_tokens=False).offsets
        for at in range(CHUNKS):
            part = offsets[at * 240: (at + 1) * 240]
            if part:
                chunks.append(body[part[0][0]: part[-1][1]])
                page_of.append(len(questions))
        questions.append(question)
        if len(questions) == PAGES:
            break
    engine = texts.Engine(place, questions + chunks)
    rows, before = [], None
    for dtype in DTYPES:
        file = place / "vectors"
        engine.ask(f"vectors {dtype} {file}")
        vectors = numpy.frombuffer(file.read_bytes(), numpy.float32).reshape(len(questions) + len(chunks), -1)
        scores = vectors[: len(questions)] @ vectors[len(questions):].T
        best = numpy.full((len(questions), len(questions)), -1.0, numpy.float32)
        numpy.maximum.at(best.T, numpy.array(page_of), scores.T)
        ranks = (best > best.diagonal()[:, None]).sum(1) + 1
        before = vectors if before is None else before
        rows.append((
            dtype, f"{(ranks == 1).mean():.3f}", f"{(ranks <= 10).mean():.3f}",
            f"{numpy.where(ranks <= 10, 1 / ranks, 0).mean():.3f}", f"{(vectors * before).sum(1).mean():.4f}",
        ))
    shutil.rmtree(place)
    print(f"# Search quality by precision\n\n{datetime.date.today()}, {harness.machine()}; {len(questions)} manual pages of "
          f"manpages-dev in {len(chunks)} chunks, all-MiniLM-L6-v2; each query is the line under NAME, which is removed "
          f"from the page.\n")
    harness.table(("precision", "recall@1", "recall@10", "MRR@10", "mean cosine with float32"), rows)


main()
