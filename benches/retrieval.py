"""What each ingredient of search gains on a judged set: fields, context, fusion and passes, together and
each left out.

A set is a folder with documents in `corpus/` and queries in `judged.jsonl`, as `benches/judged/manpages.py` and
`postgresql.py` write it, or with `docs/`, `queries.jsonl` and `qrels.tsv` (TREC). Without a set, both of `benches/judged` are made. Every index is built once;
search settings belong to the pipeline file, so variants of them share an index. `semantik eval` ranks documents by
their best passage and scores every query; a difference is the mean over the queries of both, with the 95 %
interval of a bootstrap over them. All random numbers have a fixed seed.

    .cache/peers/bin/python benches/retrieval.py [SET…] [--work FOLDER] [--only NAME,…] [--model FOLDER] [--dtype int8]

With `--work`, indices and scores are kept there and used again.
"""

import argparse
import datetime
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

import harness
import numpy

JUDGED = pathlib.Path(__file__).resolve().parent / "judged"
# Chunks and vectors: options of the `chunk` and the `embed` node.
WITHOUT_FIELDS = {name: {"weight": 0} for name in ("headings", "title", "path")}
INDICES = {
    "default": ({}, {}),
    "no context": ({"context": "none"}, {}),
    "no fields": ({}, {"sparse": {"fields": WITHOUT_FIELDS}}),
    "text alone": ({"context": "none"}, {"sparse": {"fields": WITHOUT_FIELDS}}),
}
RRF = {"method": "rrf", "k": 60}
# Name, index, mode, settings of `search:`. The first row is what the others are compared with: hybrid search
# before fields, context and score fusion.
ROWS = [
    ("before: reciprocal ranks, text alone", "text alone", "hybrid", {"fusion": RRF, "exact_terms": False}),
    ("default", "default", "hybrid", {}),
    ("default, dense", "default", "dense", {}),
    ("before, dense", "text alone", "dense", {}),
    ("default, sparse", "default", "sparse", {}),
    ("before, sparse", "text alone", "sparse", {}),
    ("without context", "no context", "hybrid", {}),
    ("without fields", "no fields", "hybrid", {}),
    ("without context and fields", "text alone", "hybrid", {}),
    ("without score fusion", "default", "hybrid", {"fusion": RRF}),
    ("without exact terms", "default", "hybrid", {"exact_terms": False}),
    *((f"dense weight {w}", "default", "hybrid", {"fusion": {"method": "convex", "dense": w}}) for w in (0.4, 0.5, 0.6, 0.7, 0.8)),
    ("reciprocal ranks, k = 10", "default", "hybrid", {"fusion": {"method": "rrf", "k": 10}}),
]
MEASURES = {"ndcg@10": "nDCG@10", "recall@10": "Recall@10", "mrr@10": "MRR@10"}
SAMPLES = 2000
PIPELINE = """\
version: 1
name: {name}
collection: {name}
search: {search}
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: ['{corpus}'] }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {chunk} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {embed} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"""


def made_sets(work):
    for name in ("manpages", "postgresql"):
        place = work / "sets" / name
        if not (place / "judged.jsonl").exists():
            place.mkdir(parents=True)
            subprocess.run([sys.executable, JUDGED / f"{name}.py", place], check=True, stdout=subprocess.DEVNULL)
        yield place


def documents_of(place):
    return next(place / name for name in ("corpus", "docs") if (place / name).is_dir()).resolve()


def judgements_of(place, work):
    """The judgements of a set in the format of `semantik eval`."""
    if (place / "judged.jsonl").exists():
        return (place / "judged.jsonl").resolve()
    relevant = {}
    for line in (place / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, _, document, grade = line.split()
        # A path is a pattern.
        path = re.sub(r"([\[\]*?{}\\!])", r"\\\1", f"{documents_of(place)}/{document}")
        relevant.setdefault(query, {})[path] = int(grade)
    queries = map(json.loads, (place / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    lines = (
        json.dumps({"id": query["id"], "query": query["text"], "relevant": relevant[query["id"]]}, ensure_ascii=False)
        for query in queries
    )
    file = work.resolve() / "judged.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def semantik(work, *args):
    ran = subprocess.run([harness.SEMANTIK, "--log", "error", *args], cwd=work, capture_output=True, text=True)
    if ran.returncode not in (0, 2):
        raise SystemExit(f"semantik {' '.join(map(str, args))}: {ran.stderr}")
    return json.loads(ran.stdout)


class JudgedSet:
    """A set with its indices and scores in one work folder, so that equal texts are embedded once."""

    def __init__(self, place, work, options):
        self.name, self.corpus, self.work, self.options = place.name, documents_of(place), work, options
        work.mkdir(parents=True, exist_ok=True)
        self.judged = judgements_of(place, work)
        self.built = {}

    def pipeline(self, index, search):
        chunk, embed = INDICES[index]
        embed = {"model": str(self.options.model.resolve()), "dtype": self.options.dtype} | embed
        name = index.replace(" ", "-")
        file = self.work / f"{name}.yaml"
        # JSON is YAML.
        file.write_text(
            PIPELINE.format(
                name=name, corpus=self.corpus, search=json.dumps(search),
                chunk=json.dumps({"size": 256, "overlap": 32} | chunk, ensure_ascii=False), embed=json.dumps(embed),
            ),
            encoding="utf-8",
        )
        return file.name

    def build(self, index):
        if index in self.built:
            return
        kept = self.work / f"{index.replace(' ', '-')}.run.json"
        file = self.pipeline(index, {})
        before, started = size(self.work), time.perf_counter()
        report = semantik(self.work, "run", file, "--json")
        if not kept.exists():
            seconds, grown = time.perf_counter() - started, size(self.work) - before
            kept.write_text(json.dumps({"chunks": report["chunks"], "seconds": seconds, "bytes": grown}))
        self.built[index] = json.loads(kept.read_text())

    def scores(self, row):
        """Measure to the scores of all queries, and the seconds per query."""
        name, index, mode, search = row
        kept = self.work / (re.sub(r"[^\w.]+", "-", name) + ".json")
        if not kept.exists():
            self.build(index)
            file = self.pipeline(index, search)
            started = time.perf_counter()
            said = semantik(self.work, "eval", file, "--judgements", self.judged, "--mode", mode, "--json")
            seconds = time.perf_counter() - started
            questions = said["evaluations"][0]["questions"]
            kept.write_text(json.dumps({
                "seconds": seconds / len(questions),
                "scores": {measure: [one["scores"][measure] for one in questions] for measure in MEASURES},
            }))
        found = json.loads(kept.read_text())
        return {measure: numpy.array(values) for measure, values in found["scores"].items()}


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def interval(values):
    """The 95 % interval of the mean. The same queries are drawn for equal counts: runs are paired."""
    drawn = numpy.random.default_rng(1).integers(0, len(values), (SAMPLES, len(values)))
    return numpy.quantile(values[drawn].mean(axis=1), [0.025, 0.975])


def compare(judged, rows):
    table, first = [], None
    for row in rows:
        found = judged.scores(row)
        first = first or found
        cells = [row[0]]
        for measure in MEASURES:
            gain = found[measure] - first[measure]
            low, high = interval(gain)
            said = f" {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]" if found is not first else ""
            cells.append(f"{found[measure].mean():.3f}{said}")
        table.append(cells)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, help="keep indices and scores here")
    parser.add_argument("--only", help="names of rows, separated by commas; the first row is always there")
    parser.add_argument("--model", type=pathlib.Path, default=harness.MODEL)
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    wanted = options.only and [name.strip() for name in options.only.split(",")]
    rows = [row for at, row in enumerate(ROWS) if at == 0 or not wanted or row[0] in wanted]
    work = options.work or harness.folder()
    print(f"# Gain of each ingredient\n\n{datetime.date.today()}, {harness.machine()}; {options.model.name}, chunks of 256 "
          f"with 32 of overlap. Differences to the first row with 95 % intervals.\n")
    for place in options.sets or made_sets(work):
        judged = JudgedSet(place, work / place.name, options)
        table = compare(judged, rows)
        print(f"## {judged.name}\n")
        harness.table(("", *MEASURES.values()), table)
        print()
        if judged.built:
            harness.table(
                ("index", "chunks", "seconds", "MiB added"),
                [(name, it["chunks"], f"{it['seconds']:.0f}", f"{it['bytes'] / 2**20:.0f}") for name, it in judged.built.items()],
            )
            print()
    if not options.work:
        shutil.rmtree(work)


main()
