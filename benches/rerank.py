"""Seconds of a cross-encoder for the candidates of one search, as a ratio to the same model in Python.

    cargo build --example rerank -p embedding        # libtorch is optimised in every build
    SEMANTIK_BUILD=debug .cache/peers/bin/python benches/rerank.py [--candidates 20] [--tokens 200] [--rounds 12]

The model has the shape of ms-marco-MiniLM-L6-v2 (22 million weights) and random weights; speed does
not depend on them. Both programs use all cores: sentence-transformers in float32 and with libtorch's
dynamic quantisation of linear layers in int8. Rounds alternate, and the best round of each counts:
the other rounds mostly measure the load of the machine. The scores are compared, too.
"""

import argparse
import datetime
import json
import os
import random
import shutil
import statistics
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"

import harness
import torch
import transformers
from sentence_transformers import CrossEncoder

EXAMPLE = harness.BUILD / "examples/rerank"


def model(place):
    """A folder with the configuration of ms-marco-MiniLM-L6-v2 and the tokenizer of all-MiniLM-L6-v2,
    which is that of BERT."""
    folder = place / "minilm-reranker-random"
    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=512, num_labels=1,
        sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"},
    )
    torch.manual_seed(1)
    built = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        # The scores of untrained weights would hardly differ.
        for parameter in built.parameters():
            parameter.mul_(2)
    built.save_pretrained(folder)
    tokenizer = json.loads((harness.MODEL / "tokenizer.json").read_text())
    tokenizer |= {"truncation": None, "padding": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {
        "tokenizer_class": "BertTokenizerFast", "model_max_length": 512, "do_lower_case": True, "unk_token": "[UNK]",
        "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    words = [word for word in tokenizer["model"]["vocab"] if word.isascii() and word.isalpha() and len(word) > 1]
    return folder, words


def texts(words, candidates, tokens):
    """A query of eight words, and passages of three quarters to five quarters of `tokens`."""
    chance = random.Random(1)
    lengths = [chance.randint(tokens * 3 // 4, tokens * 5 // 4) for _ in range(candidates)]
    return [" ".join(chance.choices(words, k=length)) for length in [8, *lengths]]


class Ours:
    def __init__(self, folder, place, lines):
        file = place / "texts.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.child = subprocess.Popen([EXAMPLE, folder, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def score(self, dtype):
        self.child.stdin.write(dtype + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        return answer["seconds"], answer["scores"]


class Peer:
    def __init__(self, folder, lines):
        self.pairs = [(lines[0], passage) for passage in lines[1:]]
        plain, small = (CrossEncoder(str(folder), device="cpu") for _ in range(2))
        whole = small.model
        quantised = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.Linear}, dtype=torch.qint8)
        for parent in list(small.modules()):
            for name, child in list(parent.named_children()):
                if child is whole:
                    setattr(parent, name, quantised)
        self.models = {"float32": plain, "int8": small}

    def score(self, dtype):
        started = time.perf_counter()
        scores = self.models[dtype].predict(self.pairs, batch_size=32)
        return time.perf_counter() - started, [float(score) for score in scores]


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("candidates", 20), ("tokens", 200), ("rounds", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(os.cpu_count())
    place = harness.folder()
    folder, words = model(place)
    lines = texts(words, asked.candidates, asked.tokens)
    ours, peer = Ours(folder, place, lines), Peer(folder, lines)
    seconds, scores = {}, {}
    for _ in range(asked.rounds):
        for dtype in peer.models:
            for name, program in (("semantik", ours), ("Python", peer)):
                took, found = program.score(dtype)
                seconds.setdefault((name, dtype), []).append(took)
                scores[name, dtype] = found
    print(f"# Reranking\n\n{datetime.date.today()}, {harness.machine()}; {asked.candidates} passages of about "
          f"{asked.tokens} tokens, {asked.rounds} alternating rounds, the best of each\n")
    exact = scores["Python", "float32"]
    rows = []
    for dtype in peer.models:
        mine, theirs = (min(seconds[name, dtype]) for name in ("semantik", "Python"))
        rows.append((
            dtype, f"{mine * 1000:.0f}", f"{theirs * 1000:.0f}", f"{theirs / mine:.2f}",
            f"{statistics.correlation(scores['semantik', dtype], exact):.5f}", f"{statistics.correlation(scores['Python', dtype], exact):.5f}",
        ))
    harness.table(
        ("dtype", "semantik, ms", "Python, ms", "Python / semantik", "correlation of scores", "that of Python"), rows
    )
    shutil.rmtree(place)


main()
