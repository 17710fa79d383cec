"""Tokens per second of the embedding engine, and their share of the peak matrix throughput.

`embed.py quick` takes fewer texts and rounds. Measures device only, with tokenization, and
tokenization alone; short, mixed and full-length chunks; every precision; every budget. Variants
alternate, and the best round of each counts: the other rounds mostly measure the load of the
machine.
"""

import datetime
import json
import shutil
import sys

import harness
import models
import texts

QUICK = "quick" in sys.argv
COUNT, ROUNDS = (80, 4) if QUICK else (240, 12)
DTYPES = ("float32", "bfloat16", "int8")
BUDGETS = (256, 512, 1024, 2048, 4096)


def best(rounds, key="seconds"):
    return min(rounds, key=lambda answer: answer[key])


def main():
    place = harness.folder()
    tokenizer = texts.tokenizer()
    kinds = texts.chunks(COUNT, tokenizer)
    config = json.loads((harness.MODEL / "config.json").read_text())
    engine = texts.Engine(place, sum(kinds.values(), []))
    print(f"# Embedding throughput\n\n{datetime.date.today()}, {harness.machine()}; all-MiniLM-L6-v2, {COUNT} chunks of "
          f"each kind, {ROUNDS} alternating rounds, the best of each\n")
    rows, at, peaks = [], 0, []
    for kind, chunks in kinds.items():
        lengths = engine.use(range(at, at + len(chunks)))
        at += len(chunks)
        rounds = {dtype: {"device": [], "whole": []} for dtype in DTYPES}
        tokenising = []
        for _ in range(ROUNDS):
            peaks.append(engine.ask("peak 1024")["gflops"])
            tokenising.append(engine.ask("tokenise 1"))
            for dtype, found in rounds.items():
                for what, answers in found.items():
                    answers.append(engine.ask(f"{what} {dtype} 0"))
        work = texts.operations(config, lengths)
        for dtype, found in rounds.items():
            device, whole = best(found["device"]), best(found["whole"])
            rate = work / best(found["device"], "busy")["busy"] / 1e9
            rows.append((
                kind, f"{sum(lengths) / len(lengths):.0f}", dtype,
                f"{device['tokens'] / device['seconds']:,.0f}",
                f"{device['tokens'] / best(found['device'], 'cpu')['cpu']:,.0f}",
                f"{whole['tokens'] / whole['seconds']:,.0f}",
                f"{device['padding'] / (device['tokens'] + device['padding']):.1%}",
                f"{rate:.0f}", rate,
                f"{best(tokenising)['seconds'] / best(tokenising)['tokens'] * device['tokens'] / best(found['device'], 'cpu')['cpu']:.1%}",
            ))
    # All variants run on the same machine, so they share one peak.
    peak = max(peaks)
    rows = [tuple(f"{cell / peak:.0%}" if isinstance(cell, float) else cell for cell in row) for row in rows]
    harness.table(
        ("chunks", "tokens per chunk", "precision", "tokens/s", "tokens per processor second", "tokens/s with tokenization",
         "padding", "GFLOP/s in the model", f"share of the f32 peak ({peak:.0f})", "tokenization, share of the model's processor time"),
        rows,
    )

    print("\n## Budgets\n\nTokens/s of mixed chunks by tokens per batch.\n")
    engine.use(range(COUNT, 2 * COUNT))
    found = {(dtype, budget): [] for dtype in DTYPES for budget in BUDGETS}
    for _ in range(max(2, ROUNDS // 2)):
        for dtype, budget in found:
            found[dtype, budget].append(engine.ask(f"device {dtype} {budget}"))
    harness.table(("precision", *(f"{budget:,}" for budget in BUDGETS)), [
        (dtype, *(f"{(one := best(found[dtype, budget]))['tokens'] / one['seconds']:,.0f}" for budget in BUDGETS))
        for dtype in DTYPES
    ])

    print("\n## A model of BERT-base size\n\nRandom weights; chunks of 512 tokens.\n")
    base = models.bert_base(place)
    config = json.loads((base / "config.json").read_text())
    large = texts.Engine(place, [" ".join(kinds["full"][at: at + 3]) for at in range(0, COUNT // 5, 3)], base)
    lengths = large.use(range(len(range(0, COUNT // 5, 3))))
    found, peaks = {dtype: [] for dtype in DTYPES}, []
    for _ in range(ROUNDS):
        peaks.append(large.ask("peak 1024")["gflops"])
        for dtype, answers in found.items():
            answers.append(large.ask(f"device {dtype} 0"))
    rate = {dtype: texts.operations(config, lengths) / best(answers, "busy")["busy"] / 1e9 for dtype, answers in found.items()}
    harness.table(("precision", "tokens/s", "GFLOP/s in the model", f"share of the f32 peak ({max(peaks):.0f})"), [
        (dtype, f"{(one := best(answers))['tokens'] / one['seconds']:,.0f}", f"{rate[dtype]:.0f}",
         f"{rate[dtype] / max(peaks):.0%}") for dtype, answers in found.items()
    ])

    print("\n## Tokenising\n")
    engine.use(range(3 * COUNT))
    found = {threads: [] for threads in (1, 2, 4)}
    for _ in range(ROUNDS):
        for threads, answers in found.items():
            answers.append(engine.ask(f"tokenise {threads}"))
    harness.table(("threads", "tokens/s", "MB/s"), [
        (threads, f"{(one := best(answers))['tokens'] / one['seconds']:,.0f}", f"{one['bytes'] / one['seconds'] / 1e6:.1f}")
        for threads, answers in found.items()
    ])
    shutil.rmtree(place)


main()
