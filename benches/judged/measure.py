"""Quality of dense, sparse and hybrid search on judged queries, compared with other software on the
same chunks.

The pipeline also writes its chunks to Parquet, and the other software searches them:
sentence-transformers with the same model, with exact search; and BM25 by `bm25s` (the Lucene
variant, English stop words, the Snowball stemmer). Documents are ranked by their best chunk, and
the measures of the others are those of `trec_eval`.

    benches/run judged
    .cache/peers/bin/python benches/judged/measure.py [PAGES] [QUESTIONS]
"""

import collections
import datetime
import json
import pathlib
import shutil
import subprocess
import sys

import bm25s
import ir_measures
import numpy
import pyarrow.parquet
import Stemmer
from ir_measures import RR, R, nDCG
from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import harness  # noqa: E402

PIPELINE = """\
version: 1
name: judged
collection: judged
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [corpus] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 256, overlap: 32 }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: '{model}' }} }}
  - {{ id: chunks,  uses: parquet, from: embed, with: {{ path: chunks }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"""
MEASURES = (nDCG @ 10, R @ 10, R @ 100, RR @ 10)
NAMES = ("ndcg@10", "recall@10", "recall@100", "mrr@10")


def semantik(place, *args):
    ran = subprocess.run(
        [harness.SEMANTIK, "--log", "error", *args], cwd=place, capture_output=True, text=True
    )
    if ran.returncode not in (0, 2):
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout)


def best(scores, documents, least=-numpy.inf):
    """Documents by their best chunk: query index to at most 100 names with scores above `least`."""
    ranked = {}
    for question, row in enumerate(scores):
        found = collections.OrderedDict()
        for chunk in numpy.argsort(-row, kind="stable"):
            if row[chunk] <= least or len(found) >= 100:
                break
            found.setdefault(documents[chunk], float(row[chunk]))
        ranked[question] = found
    return ranked


def measured(ranked, judged):
    names = [f"{question}" for question in range(len(judged))]
    qrels = [
        ir_measures.Qrel(name, document, grade)
        for name, line in zip(names, judged)
        for document, grade in line["relevant"].items()
    ]
    run = [
        ir_measures.ScoredDoc(names[question], document, 1000.0 - rank)
        for question, found in ranked.items()
        for rank, document in enumerate(found)
    ]
    means = ir_measures.calc_aggregate(MEASURES, qrels, run)
    return [f"{means[measure]:.3f}" for measure in MEASURES]


def fused(*rankings, k=60):
    """Reciprocal rank fusion of chunks."""
    total = numpy.zeros_like(rankings[0])
    for scores in rankings:
        for question, row in enumerate(scores):
            for rank, chunk in enumerate(numpy.argsort(-row, kind="stable")[:500], start=1):
                if row[chunk] > 0:
                    total[question, chunk] += 1 / (k + rank)
    return total


def others(place, judged):
    chunks = pyarrow.parquet.read_table(place / "chunks/chunks")
    texts = chunks["text"].to_pylist()
    below = f"file://{place}/corpus/"
    documents = [uri.removeprefix(below) for uri in chunks["uri"].to_pylist()]
    questions = [line["query"] for line in judged]

    model = SentenceTransformer(str(harness.MODEL), device="cpu")
    dense = model.encode(questions, normalize_embeddings=True) @ model.encode(
        texts, batch_size=32, normalize_embeddings=True
    ).T

    stemmer = Stemmer.Stemmer("english")
    tokenize = lambda of: bm25s.tokenize(of, stopwords="en", stemmer=stemmer, show_progress=False)
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(tokenize(texts), show_progress=False)
    sparse = numpy.stack(
        [index.get_scores(words) for words in bm25s.tokenize(questions, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)]
    )
    length = numpy.mean([len(text.split()) for text in texts])
    yield "sentence-transformers, exact", measured(best(dense, documents), judged)
    yield "bm25s (Lucene)", measured(best(sparse, documents, 0), judged)
    yield "both, fused (k = 60)", measured(best(fused(dense, sparse), documents, 0), judged)
    print(f"{len(texts)} chunks of {length:.0f} words on average\n", file=sys.stderr)


def main():
    limits = sys.argv[1:]
    print(f"# Search quality on judged queries\n\n{datetime.date.today()}, {harness.machine()}\n")
    for name in ("manpages", "postgresql"):
        place = harness.folder()
        made = subprocess.run(
            [sys.executable, HERE / f"{name}.py", place, *limits], check=True, capture_output=True, text=True
        )
        (place / "pipeline.yaml").write_text(PIPELINE.format(model=harness.MODEL))
        report = semantik(place, "run", "pipeline.yaml", "--json")
        judged = [json.loads(line) for line in open(place / "judged.jsonl")]
        said = semantik(place, "eval", "pipeline.yaml", "--judgements", "judged.jsonl", "--json")
        print(f"## {name}: {made.stdout.strip()}, {report['chunks']} chunks\n")
        rows = []
        for evaluation in sorted(said["evaluations"], key=lambda it: it["mode"]):
            means = (evaluation["measures"][measure] for measure in NAMES)
            cells = [f"{it['mean']:.3f} ({it['low']:.3f}–{it['high']:.3f})" for it in means]
            rows.append((f"semantik, {evaluation['mode']}", *cells))
        rows += [(name, *means) for name, means in others(place, judged)]
        harness.table(("", "nDCG@10", "Recall@10", "Recall@100", "MRR@10"), rows)
        print()
        shutil.rmtree(place)


main()
