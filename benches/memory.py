"""Peak memory of a run by the size of the corpus and by the window of the model."""

import datetime
import re
import shutil
import sys

import harness


# Model, copies of the documents, chunks per window.
MEASURED = ((harness.MODEL, 4, 1024), (harness.MODEL, 10, 1024), (harness.MODEL, 10, 128), (harness.MODEL, 10, 8192),
            ("stand-in:384", 10, 1024), ("stand-in:384", 100, 1024), ("stand-in:384", 100, 128), ("stand-in:384", 100, 8192),
            ("stand-in:384", 250, 1024))
if "quick" in sys.argv:
    MEASURED = MEASURED[4:]


def texts():
    """Passages of real text, about 1,500 characters each."""
    for path in sorted((harness.CORPORA / "postgresql-doc-15").rglob("*.html")):
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text(errors="replace")))
        if len(text) > 1500:
            yield text[:1500]


def main():
    sample = list(texts())[:400]
    rows = []
    # The stand-in is fast, so the memory of the other nodes can be measured with more documents.
    for model, times, window in MEASURED:
        place = harness.folder()
        corpus = place / "corpus"
        for copy in range(times):
            (corpus / str(copy)).mkdir(parents=True)
            for number, text in enumerate(sample):
                # Every copy differs, so that there are no duplicates.
                (corpus / str(copy) / f"{number}.txt").write_text(f"Copy {copy} of {number}. {text}")
        harness.write_pipeline(place, corpus, model, window=window)
        first = harness.run(place)
        again = harness.run(place)
        rows.append((
            getattr(model, "name", model),
            window,
            first["documents"]["seen"],
            first["chunks"],
            f"{first['seconds']:.1f}",
            f"{first['peak_mib']:.0f}",
            f"{first['anonymous_mib']:.0f}",
            f"{again['seconds']:.2f}",
            f"{again['peak_mib']:.0f}",
        ))
        shutil.rmtree(place)
    print(f"# Peak memory of a run\n\n{datetime.date.today()}, {harness.machine()}\n")
    harness.table(
        ("model", "window", "documents", "chunks", "seconds", "peak MiB", "of it anonymous", "seconds, unchanged",
         "peak MiB, unchanged"), rows
    )


main()
