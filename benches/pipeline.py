"""Cost of a run besides embedding, and its limiting resource.

`pipeline.py quick` takes fewer documents. First, alternating runs of the pipeline and of embedding
alone, on the same texts with one file per text, so that both embed the same tokens. Then whole
corpora with stand-in vectors, which shows the cost of the other nodes: the time of each node per
batch and per document.
"""

import datetime
import os
import shutil
import sys

import harness
import texts

QUICK = "quick" in sys.argv
COUNT, ROUNDS = (200, 1) if QUICK else (2000, 3)


def whole_against_alone():
    tokenizer = texts.tokenizer()
    # The chunk size is the model limit; a text that fits is one chunk.
    chunks = [text for text in dict.fromkeys(texts.chunks(COUNT, tokenizer)["mixed"])
              if len(tokenizer.encode(text).ids) <= 250]
    place = harness.folder()
    engine = texts.Engine(place, chunks)
    rows = []
    for dtype in ("float32", "int8"):
        for _ in range(ROUNDS):
            alone = engine.ask(f"device {dtype} 0")
            run = harness.folder()
            (run / "corpus").mkdir()
            for number, text in enumerate(chunks):
                (run / "corpus" / f"{number}.txt").write_text(text)
            harness.write_pipeline(run, run / "corpus", dtype=dtype)
            report = harness.run(run)
            shutil.rmtree(run)
            embed = next(node for node in report["nodes"] if node["id"] == "embed")
            per_token = report["seconds"] / report["tokens"] / (alone["seconds"] / alone["tokens"])
            processor = report["cpu_seconds"] / report["tokens"] / (alone["cpu"] / alone["tokens"])
            rows.append((
                dtype, f"{alone['tokens']:,}", f"{alone['seconds']:.1f}", f"{report['tokens']:,}",
                f"{report['seconds']:.1f}", f"{per_token:.2f}", f"{processor:.2f}",
                f"{embed['starved_seconds'] / report['seconds']:.1%}",
                f"{embed['blocked_seconds'] / report['seconds']:.1%}",
            ))
    shutil.rmtree(place)
    harness.table(
        ("precision", "tokens alone", "seconds alone", "tokens of the run", "seconds of the run", "run ÷ alone, per token",
         "the same by processor time", "embed starved", "embed blocked"), rows)


def size(folder):
    return sum(os.path.getsize(os.path.join(at, file)) for at, _, files in os.walk(folder) for file in files
               if not os.path.islink(os.path.join(at, file)))


def everything_else():
    documents, nodes = [], []
    for name, below, include in harness.WHOLE:
        place = harness.folder()
        corpus = harness.CORPORA / name / below
        harness.write_pipeline(place, corpus, "stand-in:384", include)
        report = harness.run(place)
        shutil.rmtree(place)
        seconds = report["seconds"]
        documents.append((
            name, report["documents"]["seen"], report["chunks"], f"{report['tokens']:,}", f"{seconds:.1f}",
            f"{report['documents']['seen'] / seconds:.0f}", f"{size(corpus) / seconds / 1e6:.1f}",
            f"{report['tokens'] / seconds:,.0f}", f"{report['cpu_seconds'] / seconds:.2f}",
        ))
        for node in report["nodes"]:
            batches, rows = max(1, node["batches"]), max(1, node["rows_in"] or node["rows_out"])
            nodes.append((
                name, node["id"], node["batches"], f"{node['bytes_in'] / batches / 1024:,.0f}",
                f"{node['busy_seconds'] / batches * 1e3:.2f}", f"{node['busy_seconds'] / rows * 1e6:,.0f}",
                f"{node['busy_seconds'] / seconds:.0%}", f"{node['starved_seconds'] / seconds:.0%}",
                f"{node['blocked_seconds'] / seconds:.0%}",
            ))
    print("\n## Everything except embedding\n\nStand-in vectors with 384 dimensions; embedded stores.\n")
    harness.table(("corpus", "documents", "chunks", "tokens", "seconds", "documents/s", "MB/s of files", "tokens/s",
                   "cores busy"), documents)
    print("\nTime per node. Here `embed` runs the arithmetic of the stand-in, and `chunk` counts its tokens.\n")
    harness.table(("corpus", "node", "batches", "KiB per batch", "ms per batch", "µs per document", "busy", "starved",
                   "blocked"), nodes)


print(f"# The whole pipeline\n\n{datetime.date.today()}, {harness.machine()}; all-MiniLM-L6-v2, embedded stores\n")
whole_against_alone()
everything_else()
