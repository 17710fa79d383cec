"""The same texts through semantik, sentence-transformers and ONNX Runtime: relative speed.

`peers.py quick` takes fewer texts and rounds. All libraries map texts to normalized vectors, on all
cores. sentence-transformers runs with defaults (batches of 32, sorted by length). ONNX Runtime runs
with its optimizer for BERT (fused attention, GELU and norms), also in batches of 32 sorted by
length, in single precision and with dynamic quantization, one scale per output channel.
"""

import datetime
import resource
import shutil
import sys
import time

import harness
import numpy
import onnx
import onnxruntime
import sentence_transformers
import texts
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoModel

QUICK = "quick" in sys.argv
COUNT, ROUNDS = (60, 2) if QUICK else (240, 8)
BATCH = 32


def export(place):
    """all-MiniLM-L6-v2 for ONNX Runtime, fused, in single precision and in 8 bits."""
    model = AutoModel.from_pretrained(harness.MODEL, attn_implementation="eager").eval()
    plain, fused, small = (str(place / f"{name}.onnx") for name in ("plain", "fused", "int8"))
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        model, (ids, ids, ids), plain, dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask", "token_type_ids"], output_names=["rows"],
        dynamic_axes={name: axes for name in ("input_ids", "attention_mask", "token_type_ids", "rows")},
    )
    optimize_model(plain, model_type="bert", num_heads=12, hidden_size=384).save_model_to_file(fused)
    quantize_dynamic(
        fused, small, weight_type=QuantType.QInt8, per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    return fused, small


class Onnx:
    def __init__(self, file):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(harness.MODEL / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()

    def encode(self, chunks):
        order = sorted(range(len(chunks)), key=lambda at: -len(chunks[at]))
        vectors = numpy.empty((len(chunks), 384), numpy.float32)
        for start in range(0, len(order), BATCH):
            members = order[start: start + BATCH]
            read = self.tokenizer.encode_batch([chunks[at] for at in members])
            ids = numpy.array([one.ids for one in read], numpy.int64)
            mask = numpy.array([one.attention_mask for one in read], numpy.int64)
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
            inputs = {one.name: inputs[one.name] for one in self.session.get_inputs()}
            rows = self.session.run(["rows"], inputs)[0]
            mask = mask[:, :, None].astype(numpy.float32)
            pooled = (rows * mask).sum(1) / mask.sum(1)
            vectors[members] = pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors


def timed(work):
    before, started = processor(), time.perf_counter()
    work()
    return time.perf_counter() - started, processor() - before


def processor():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    place = harness.folder()
    tokenizer = texts.tokenizer()
    kinds = texts.chunks(COUNT, tokenizer)
    fused, small = export(place)
    engine = texts.Engine(place, sum(kinds.values(), []))
    reference = SentenceTransformer(str(harness.MODEL), device="cpu")
    sessions = {"ONNX Runtime, f32": Onnx(fused), "ONNX Runtime, int8": Onnx(small)}
    ours = {f"semantik, {short}": dtype for short, dtype in
            (("f32", "float32"), ("bf16", "bfloat16"), ("int8", "int8"))}
    first = "sentence-transformers, f32"
    rows, cosines, at = [], {name: [] for name in (*ours, *sessions)}, 0
    for kind, chunks in kinds.items():
        lengths = engine.use(range(at, at + len(chunks)))
        at += len(chunks)
        times = {name: [] for name in (first, *sessions, *ours)}
        for _ in range(ROUNDS):
            times[first].append(timed(lambda: reference.encode(chunks, batch_size=BATCH, show_progress_bar=False)))
            for name, session in sessions.items():
                times[name].append(timed(lambda session=session: session.encode(chunks)))
            for name, dtype in ours.items():
                answer = engine.ask(f"whole {dtype} 0")
                times[name].append((answer["seconds"], answer["cpu"]))
        seconds = {name: min(one for one, _ in found) for name, found in times.items()}
        processors = {name: min(one for _, one in found) for name, found in times.items()}
        for name in times:
            rows.append((
                kind, f"{sum(lengths) / len(lengths):.0f}", name, f"{sum(lengths) / seconds[name]:,.0f}",
                f"{seconds[first] / seconds[name]:.2f}", f"{sum(lengths) / processors[name]:,.0f}",
                f"{processors[first] / processors[name]:.2f}",
            ))
        wanted = reference.encode(chunks, batch_size=BATCH, show_progress_bar=False)
        for name, dtype in ours.items():
            file = place / "vectors"
            engine.ask(f"vectors {dtype} {file}")
            found = numpy.frombuffer(file.read_bytes(), numpy.float32).reshape(wanted.shape)
            cosines[name] += list((found * wanted).sum(1))
        for name, session in sessions.items():
            cosines[name] += list((session.encode(chunks) * wanted).sum(1))
    shutil.rmtree(place)
    print(f"# Comparison of embedding engines\n\n{datetime.date.today()}, {harness.machine()}; all-MiniLM-L6-v2, {COUNT} chunks of each "
          f"kind, texts to vectors, {ROUNDS} alternating rounds, the best of each. sentence-transformers "
          f"{sentence_transformers.__version__}, torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}.\n")
    harness.table(("chunks", "tokens per chunk", "library", "tokens/s", "ratio", "tokens per processor second",
                   "ratio by processor time"), rows)
    print("\nCosine similarity to the vectors of sentence-transformers:\n")
    harness.table(("who", "mean", "least"), [
        (name, f"{numpy.mean(found):.5f}", f"{min(found):.5f}") for name, found in cosines.items()
    ])


main()
