"""Memory of embedded vectors by stored points, by an unchanged run and by one large document."""

import datetime
import random
import shutil
import sys

import harness

# Dimensions of a vector, small documents, chunks of one additional document.
MEASURED = ((32, 20_000, 0), (32, 100_000, 0), (32, 200_000, 0), (384, 20_000, 0), (384, 100_000, 0),
            (32, 100, 20_000), (32, 100, 80_000), (384, 100, 80_000))
if "quick" in sys.argv:
    MEASURED = ((32, 5_000, 0), (32, 20_000, 0), (32, 100, 5_000), (32, 100, 20_000))

WORDS = [f"word{number}" for number in range(3000)]


def chunks(number, chance):
    """Markdown with this number of sections, each of which is a chunk of at most 48 tokens."""
    return "\n\n".join(f"## Section {at}\n\n" + " ".join(chance.choices(WORDS, k=20)) for at in range(number))


def verify(place):
    """Peak memory in MiB of a command that reads every point."""
    child = harness.subprocess.Popen([harness.SEMANTIK, "--log", "error", "verify", "pipeline.yaml"], cwd=place,
                                     stdout=harness.subprocess.DEVNULL)
    anonymous = harness.Anonymous(child.pid)
    if child.wait():
        raise SystemExit("the stores are inconsistent")
    anonymous.join()
    return anonymous.peak_kib / 1024


def main():
    rows = []
    for dim, documents, of_one in MEASURED:
        place, chance = harness.folder(), random.Random(24)
        corpus = place / "corpus"
        for number in range(documents):
            folder = corpus / str(number // 1000)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.txt").write_text(f"document {number} " + " ".join(chance.choices(WORDS, k=12)))
        if of_one:
            (corpus / "large.md").write_text(chunks(of_one, chance))
        harness.write_pipeline(place, corpus, f"stand-in:{dim}")
        file = place / "pipeline.yaml"
        # Two sections do not fit into one chunk.
        file.write_text(file.read_text().replace("size: 256, overlap: 32", "size: 48, overlap: 0"))
        first, again = harness.run(place), harness.run(place)
        rows.append((dim, documents, first["chunks"], f"{first['seconds']:.1f}", f"{first['anonymous_mib']:.0f}",
                     f"{again['seconds']:.2f}", f"{again['anonymous_mib']:.0f}", f"{verify(place):.0f}"))
        shutil.rmtree(place)
    print(f"# Memory of embedded vectors\n\n{datetime.date.today()}, {harness.machine()}\n")
    harness.table(("dimensions", "documents", "chunks", "seconds", "MiB", "seconds, unchanged", "MiB, unchanged",
                   "MiB of `verify`"), rows)


main()
