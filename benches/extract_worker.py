"""Overhead of the extract worker on small valid files: a run over 2,000 of them, against another
build.

    benches/extract_worker.py PATH/OF/ANOTHER/semantik [FILES] [ROUNDS]

Both builds alternate, each time in a new folder; the stand-in makes the vectors, so nothing is
embedded.
"""

import datetime
import pathlib
import shutil
import statistics
import subprocess
import sys

import harness

FILES = 2_000
ROUNDS = 7


def write(corpus, files):
    """Small files of the formats that earlier versions extracted in the main process."""
    for n in range(files):
        folder = corpus / f"{n // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        text = f"Note {n}: the value of {n % 97} is {n * n}, as everybody knows who has counted that far. " * 8
        kind, content = [
            ("txt", text),
            ("md", f"# Note {n}\n\n{text}\n\n- one\n- two\n"),
            ("html", f"<html><title>Note {n}</title><body><h1>Note {n}</h1><p>{text}</p></body></html>"),
            ("1", f".TH NOTE{n} 1 2024-01-01\n.SH NAME\nnote{n} \\- a note\n.SH DESCRIPTION\n{text}\n"),
        ][n % 4]
        (folder / f"{n}.{kind}").write_text(content)


def run(command, corpus):
    """The report of a first run in a new folder."""
    place = harness.folder()
    harness.write_pipeline(place, corpus, "stand-in:16")
    harness.SEMANTIK = command
    report = harness.run(place)
    shutil.rmtree(place)
    return report


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    this, other = harness.SEMANTIK, pathlib.Path(sys.argv[1]).resolve()
    files = int(sys.argv[2]) if len(sys.argv) > 2 else FILES
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS
    worker = this.with_name("semantik-extract-worker")
    built = worker.exists() and subprocess.run(
        [worker, "extract-worker", "--build"], stdout=subprocess.DEVNULL, check=False
    ).returncode == 0
    corpus = harness.folder()
    write(corpus, files)
    seconds, cpu = {this: [], other: []}, {this: [], other: []}
    for _ in range(rounds):
        for command in (other, this):
            report = run(command, corpus)
            assert report["documents"]["stored"] == files, report["documents"]
            seconds[command].append(report["seconds"])
            cpu[command].append(report["cpu_seconds"])
    shutil.rmtree(corpus)
    ratio = statistics.median(a / b for a, b in zip(seconds[this], seconds[other]))
    print(f"# The extract worker on small files\n\n{datetime.date.today()}, {harness.machine()}; {files:,} files of text, "
          f"Markdown, HTML and manual pages, median of {rounds} alternating rounds, stand-in vectors"
          f"{'' if built else '; without `semantik-extract-worker`: the command itself is the worker'}\n")
    harness.table(("measurement", "other build", "this build"), [
        ("run, s", *(f"{statistics.median(seconds[it]):.2f}" for it in (other, this))),
        ("processor time, s", *(f"{statistics.median(cpu[it]):.2f}" for it in (other, this))),
        ("ratio of run times", "1", f"{ratio:.3f}"),
    ])


main()
