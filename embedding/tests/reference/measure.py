"""Tokens per second of sentence-transformers on the chunks that the test `measure` wrote.

    python embedding/tests/reference/measure.py .cache/models/all-MiniLM-L6-v2 /tmp/semantik-chunks.jsonl
"""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device="cpu")
texts = [json.loads(line) for line in open(sys.argv[2])]
tokens = sum(len(model.tokenizer(text, truncation=True, max_length=256)["input_ids"]) for text in texts)
best = float("inf")
for _ in range(4):
    started = time.perf_counter()
    model.encode(texts, batch_size=32)
    best = min(best, time.perf_counter() - started)
print(f"{torch.get_num_threads()} threads: {tokens} tokens, {tokens / best:.0f} tokens/s")
