"""Models of real sizes with random weights, for speed measurements without a download."""

import json
import math
import shutil

import harness
import numpy

TINY = harness.ROOT / "embedding/tests/reference"


def bert_base(place):
    """The shape of bge-base, e5-base and gte-base: 110 million weights, 512 tokens. Its tokenizer
    is that of MiniLM."""
    folder = place / "bert-base-random"
    shutil.copytree(harness.MODEL, folder, ignore=shutil.ignore_patterns("model.safetensors", ".complete"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}))
    width, wide = 768, 3072
    shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,), "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(12):
        for part, inputs, outputs in (
            ("attention.self.query", width, width), ("attention.self.key", width, width),
            ("attention.self.value", width, width), ("attention.output.dense", width, width),
            ("intermediate.dense", width, wide), ("output.dense", wide, width),
        ):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = (outputs, inputs)
            shapes[f"encoder.layer.{layer}.{part}.bias"] = (outputs,)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{part}.weight"] = shapes[f"encoder.layer.{layer}.{part}.bias"] = (width,)
    write(folder / "model.safetensors", shapes)
    return folder


def qwen3(place):
    """The shape of Qwen3-Embedding-0.6B. Its tokenizer is a small one; the speed depends only on
    the number of ids."""
    folder = place / "qwen3-0.6b-random"
    shutil.copytree(TINY / "tiny-qwen3", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    width, wide, heads, keys, head, words = 1024, 3072, 16, 8, 128, 151669
    config |= {
        "hidden_size": width, "intermediate_size": wide, "num_hidden_layers": 28, "num_attention_heads": heads,
        "num_key_value_heads": keys, "head_dim": head, "vocab_size": words, "max_position_embeddings": 32768,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}))
    shapes = {"embed_tokens.weight": (words, width), "norm.weight": (width,)}
    for layer in range(28):
        name = f"layers.{layer}."
        shapes |= {
            name + "input_layernorm.weight": (width,), name + "post_attention_layernorm.weight": (width,),
            name + "self_attn.q_norm.weight": (head,), name + "self_attn.k_norm.weight": (head,),
            name + "self_attn.q_proj.weight": (heads * head, width), name + "self_attn.k_proj.weight": (keys * head, width),
            name + "self_attn.v_proj.weight": (keys * head, width), name + "self_attn.o_proj.weight": (width, heads * head),
            name + "mlp.gate_proj.weight": (wide, width), name + "mlp.up_proj.weight": (wide, width),
            name + "mlp.down_proj.weight": (width, wide),
        }
    write(folder / "model.safetensors", shapes)
    return folder


def write(file, shapes):
    """A safetensors file in half precision: norms are ones, other weights are small random
    numbers."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    random = numpy.random.default_rng(1)
    with open(file, "wb") as to:
        to.write(len(head).to_bytes(8, "little") + head)
        for name, shape in shapes.items():
            if "norm" in name.lower() and name.endswith("weight"):
                numbers = numpy.ones(shape, numpy.float16)
            else:
                numbers = (random.standard_normal(shape, numpy.float32) * 0.02).astype(numpy.float16)
            to.write(numbers.tobytes())
