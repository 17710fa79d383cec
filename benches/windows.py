"""Cost and benefit of windows by time: tokens per second and time to the first stored document,
against another build.

    python3 benches/windows.py OTHER_SEMANTIK [--rounds 3] [--files 400] [--words 400] [--model FOLDER]

Both commands alternate and index the same generated corpus with the same model. Throughput is that
of the model: `tokens` per busy second of `embed`.
"""

import argparse
import json
import random
import statistics
import subprocess
import time

import harness


def corpus(place, files, words):
    """Documents of very different lengths, where sorting by length has most effect."""
    chance = random.Random(1)
    names = [f"{chance.choice('bcdfghklmnprst')}{chance.choice('aeiou')}{n}" for n in range(2000)]
    folder = place / "corpus"
    folder.mkdir()
    for n in range(files):
        length = max(5, int(chance.expovariate(1 / words)))
        (folder / f"{n:05}.txt").write_text(f"{n} " + " ".join(chance.choices(names, k=length)))
    return folder


def stored(place, command):
    """Number of stored documents, as another command reads it."""
    said = subprocess.run(
        [command, "status", "pipeline.yaml", "--json"], cwd=place, capture_output=True, text=True
    )
    return json.loads(said.stdout)["documents"].get("completed", 0) if said.returncode == 0 else 0


def measured(command, files, words, model):
    """Tokens per second, seconds until documents are stored, seconds of the run."""
    place = harness.folder()
    found = corpus(place, files, words)
    harness.write_pipeline(place, found, model)
    # Without this option the command chooses the window.
    text = (place / "pipeline.yaml").read_text().replace(", window: 1024", "")
    (place / "pipeline.yaml").write_text(text)
    started = time.perf_counter()
    child = subprocess.Popen(
        [command, "--log", "error", "run", "pipeline.yaml", "--json"], cwd=place, stdout=subprocess.PIPE
    )
    first = None
    while child.poll() is None and first is None:
        if stored(place, command):
            first = time.perf_counter() - started
        time.sleep(0.5)
    report = json.loads(child.stdout.read())
    child.wait()
    busy = next(node["busy_seconds"] for node in report["nodes"] if node["uses"] == "embed")
    return report["tokens"] / busy, first or report["seconds"], report["seconds"]


def main():
    asked = argparse.ArgumentParser()
    asked.add_argument("other")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--files", type=int, default=400)
    asked.add_argument("--words", type=int, default=400)
    asked.add_argument("--model", default=harness.MODEL)
    args = asked.parse_args()
    commands = {"this": str(harness.SEMANTIK), "other": args.other}
    found = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            found[name].append(measured(command, args.files, args.words, args.model))
    print(f"{args.files} files; {harness.machine()}; medians of {args.rounds} rounds\n")
    medians = {name: [statistics.median(it) for it in zip(*rounds)] for name, rounds in found.items()}
    harness.table(
        ["build", "tokens/s while embedding", "first stored after", "whole run"],
        [[name, f"{rate:.0f}", f"{first:.1f} s", f"{whole:.1f} s"] for name, (rate, first, whole) in medians.items()],
    )
    print(f"\nthroughput: {medians['this'][0] / medians['other'][0]:.3f} of the other build's")


if __name__ == "__main__":
    main()
