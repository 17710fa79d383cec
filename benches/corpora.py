"""Runs whole real corpora, checks that every document is accounted for, and measures the speed."""

import datetime
import shutil

import harness


def main():
    print(f"# Whole corpora\n\n{datetime.date.today()}, {harness.machine()}\n")
    rows = []
    for name, below, include in harness.WHOLE:
        place = harness.folder()
        harness.write_pipeline(place, harness.CORPORA / name / below, include=include)
        report = harness.run(place)
        documents = report["documents"]
        left = sum(documents[key] for key in ("stored", "unchanged", "duplicate", "set_aside"))
        assert documents["seen"] == left, documents
        embed = next(node for node in report["nodes"] if node["id"] == "embed")
        rows.append((
            name,
            documents["seen"],
            documents["stored"],
            documents["duplicate"],
            documents["set_aside"],
            report["chunks"],
            report["tokens"],
            f"{report['seconds']:.0f}",
            f"{report['tokens'] / report['seconds']:.0f}",
            f"{embed['busy_seconds'] / report['seconds']:.0%}",
            f"{report['peak_mib']:.0f}",
        ))
        shutil.rmtree(place)
    harness.table(
        (
            "corpus", "seen", "stored", "duplicate", "set aside", "chunks", "tokens", "seconds", "tokens/s",
            "embed busy", "peak MiB",
        ),
        rows,
    )


main()
