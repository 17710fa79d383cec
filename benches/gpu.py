"""Tokens per second on a GPU, and their share of its peak. `benches/gpu` builds the requirements.

Three models: all-MiniLM-L6-v2 and the shapes of BERT-base and Qwen3-0.6B with random weights.
Device only, for each number of tokens per batch and for the automatic choice, and with
tokenization.
"""

import datetime
import json
import os
import random
import shutil
import subprocess
import sys

import harness
import models
import texts

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda:0"
ROUNDS = 5
BUDGETS = (8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 0)


def chunks(count, shortest, longest):
    """Word sequences from the reference texts of the engine."""
    file = models.TINY / "texts.jsonl"
    words = " ".join(json.loads(line) for line in file.read_text().splitlines()[40:]).split()
    random.seed(1)
    for _ in range(count):
        at = random.randrange(len(words) - longest)
        yield " ".join(words[at: at + random.randint(shortest, longest)])


def operations(config, lengths):
    """Like `texts.operations`, also for gated decoders with grouped-query attention."""
    if "num_key_value_heads" not in config:
        return texts.operations(config, lengths)
    width, wide, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    dense = 2 * (width * (queries + 2 * keys) + queries * width + 3 * width * wide)
    # Causal attention covers half of the pairs.
    return config["num_hidden_layers"] * sum(length * (dense + 2 * length * queries) for length in lengths)


def main():
    place = harness.folder()
    kinds = {"mixed": list(chunks(20_000, 10, 180)), "full": list(chunks(20_000, 400, 400))}
    name = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    cudnn = "last" if os.environ.get("TORCH_CUDNN_SDPA_DEPRIORITIZED") == "1" else "by default"
    print(f"# The engine on a GPU, cuDNN's attention {cudnn}\n\n{datetime.date.today()}, {name.stdout.splitlines()[:1]}, `{DEVICE}`, {harness.machine()}; "
          f"bfloat16, 20,000 chunks of each kind, {ROUNDS} rounds, the best of each\n")
    rows = []
    for folder in (harness.MODEL, models.bert_base(place), models.qwen3(place)):
        config = json.loads((folder / "config.json").read_text())
        engine = texts.Engine(place, sum(kinds.values(), []), folder, DEVICE)
        peak, at = max(engine.ask("peak 8192")["gflops"] for _ in range(3)), 0
        for kind, some in kinds.items():
            lengths = engine.use(range(at, at + len(some)))
            at += len(some)
            for budget in BUDGETS:
                found = [engine.ask(f"device bfloat16 {budget}") for _ in range(ROUNDS)]
                best = min(found, key=lambda answer: answer["seconds"])
                whole = min(engine.ask(f"whole bfloat16 {budget}")["seconds"] for _ in range(2))
                rate = operations(config, lengths) / best["seconds"] / 1e9
                rows.append((
                    folder.name, kind, f"{sum(lengths) / len(lengths):.0f}", f"{budget:,}" if budget else "probed",
                    f"{best['tokens'] / best['seconds']:,.0f}", f"{best['tokens'] / whole:,.0f}",
                    f"{best['padding'] / (best['padding'] + best['tokens']):.1%}", f"{rate / 1e3:.0f}", f"{rate / peak:.0%}",
                ))
    shutil.rmtree(place)
    harness.table(("model", "chunks", "tokens per chunk", "tokens per batch", "tokens/s, device only",
                   "tokens/s with tokenization", "padding", "TFLOP/s", "share of peak"), rows)


main()
