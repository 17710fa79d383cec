"""Generates the small models for the tests of the architectures of `embedding`.

    python3 -m venv /tmp/architectures && . /tmp/architectures/bin/activate
    pip install torch==2.15.0 sentence-transformers==6.2.0 transformers==5.24.0
    python embedding/tests/reference/architectures.py

Writes next to this file one folder per architecture, in the format of published models, with random
16-bit weights and `reference.safetensors`: vectors (float32) and ids that sentence-transformers
computes for a sample of `texts.jsonl`. `make.py` generates the texts and the BERT models.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer, models
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as vocabularies

HERE = Path(__file__).parent
WIDTH, VOCABULARY = 32, 420
SHAPE = dict(hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48)


def every_text():
    return [json.loads(line) for line in (HERE / "texts.jsonl").read_text().splitlines()]


def some_texts():
    texts = every_text()
    # A sample of all kinds, and a text longer than the limit of each of these models.
    return texts[::9] + [max(texts, key=lambda text: len(text.split()))]


def train(tokenizer, trainer, special, single, pair=None):
    # A small alphabet leaves room for subwords in such a small vocabulary.
    corpus = [text for text in every_text() if len(text) < 4000 and all(letter < "\u0180" for letter in text)]
    tokenizer.train_from_iterator(corpus, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in special if token in single]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return tokenizer


def wordpiece(special, unknown, single, pair=None):
    tokenizer = Tokenizer(vocabularies.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, limit_alphabet=120, show_progress=False)
    return train(tokenizer, trainer, special, single, pair)


def unigram(special, unknown, single, pair=None):
    tokenizer = Tokenizer(vocabularies.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=special, unk_token=unknown, show_progress=False)
    return train(tokenizer, trainer, special, single, pair)


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(special, single, pattern=None, pair=None):
    tokenizer = Tokenizer(vocabularies.BPE())
    tokenizer.normalizer = normalizers.NFC()
    if pattern:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    train(tokenizer, trainer, special, single, pair)
    if pattern:
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), tokenizer.post_processor])
    return tokenizer


def reference(folder, kinds):
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32}).eval()
    out = {}
    for kind in kinds:
        prompt = model.prompts.get(kind) or ""
        # One text at a time: without padding, vectors do not depend on a batch.
        vectors = [model.encode(text, prompt=prompt, convert_to_numpy=True) for text in some_texts()]
        out[f"{kind}.vectors"] = np.stack(vectors).astype(np.float32)
        ids = [model.tokenize([prompt + text])["input_ids"][0].numpy() for text in some_texts()]
        out[f"{kind}.ids"] = np.concatenate(ids).astype(np.int64)
        out[f"{kind}.lengths"] = np.array([len(one) for one in ids], dtype=np.int64)
    return out


def make(name, tokenizer, config, pooling, reads, special, prompts=None, behind=(), published=None):
    """Writes a small sentence-transformers model. `published` converts it to the published format."""
    folder, scratch = HERE / name, HERE / f"{name}.part"
    for old in [folder, scratch]:
        shutil.rmtree(old, ignore_errors=True)
    torch.manual_seed(7)
    model = transformers.AutoModel.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Large enough that every part of the model affects the vectors.
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.half().save_pretrained(scratch)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(scratch)
    transformer = models.Transformer(str(scratch), max_seq_length=reads)
    modules = [transformer, models.Pooling(WIDTH, pooling_mode=pooling), *behind]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").half().save(str(folder), create_model_card=False)
    stored = reference(folder, ("document", "query") if prompts else ("document",))
    if published:
        published(folder)
    save_file(stored, folder / "reference.safetensors")
    shutil.rmtree(scratch)
    print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()), "bytes")


def edit(folder, change):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config, indent=2))


def nomic_as_published(folder):
    """The configuration of nomic-embed-text-v1.5, with GPT-2's keys; the weights need no change."""
    (folder / "config.json").write_text(json.dumps({
        "activation_function": "swiglu", "architectures": ["NomicBertModel"], "causal": False, "layer_norm_epsilon": 1e-12,
        "mlp_fc1_bias": False, "mlp_fc2_bias": False, "model_type": "nomic_bert", "n_embd": WIDTH, "n_head": 4, "n_inner": 48,
        "n_layer": 3, "n_positions": 160, "prenorm": False, "qkv_proj_bias": False, "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
        "type_vocab_size": 2, "use_rms_norm": False, "vocab_size": VOCABULARY,
    }, indent=2))


def modernbert_as_published(folder):
    """Before transformers 5, three numbers defined the two kinds of layers."""
    def change(config):
        for key in ["layer_types", "rope_parameters"]:
            config.pop(key, None)
        config |= dict(global_attn_every_n_layers=3, global_rope_theta=160000.0, local_rope_theta=10000.0)
    edit(folder, change)


def qwen_as_published(folder):
    def change(config):
        for key in ["layer_types", "rope_parameters"]:
            config.pop(key, None)
        config |= dict(rope_theta=1000000, rope_scaling=None)
    edit(folder, change)


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = dict(bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>")
    roberta = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, vocab_size=VOCABULARY, **SHAPE)
    make(
        "tiny-mpnet", wordpiece(special, "<unk>", "<s> $A </s>"),
        transformers.MPNetConfig(max_position_embeddings=162, layer_norm_eps=1e-5, **roberta), "mean", 160, names,
        behind=[models.Normalize()],
    )
    make(
        "tiny-xlm-roberta", unigram(special, "<unk>", "<s> $A </s>"),
        transformers.XLMRobertaConfig(max_position_embeddings=130, layer_norm_eps=1e-5, type_vocab_size=1, **roberta),
        "cls", 128, names, prompts={"query": "query: ", "document": "passage: "},
        behind=[models.Dense(WIDTH, 24, activation_function=torch.nn.Tanh()), models.Normalize()],
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]")
    make(
        "tiny-nomic", wordpiece(special, "[UNK]", "[CLS] $A [SEP]"),
        transformers.NomicBertConfig(vocab_size=VOCABULARY, max_position_embeddings=160, **SHAPE), "mean", 160, names,
        prompts={"query": "search_query: ", "document": "search_document: "}, published=nomic_as_published,
    )
    make(
        "tiny-modernbert", byte_level(special, "[CLS] $A [SEP]"),
        transformers.ModernBertConfig(
            vocab_size=VOCABULARY, max_position_embeddings=200, local_attention=16, pad_token_id=0, bos_token_id=2,
            eos_token_id=3, cls_token_id=2, sep_token_id=3, **SHAPE | dict(num_hidden_layers=4),
        ),
        "cls", 180, names, published=modernbert_as_published,
    )
    make(
        "tiny-qwen3", byte_level(["<|endoftext|>"], "$A <|endoftext|>", QWEN),
        transformers.Qwen3Config(
            vocab_size=VOCABULARY, max_position_embeddings=200, num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-6,
            rope_parameters=dict(rope_theta=1000000.0, rope_type="default"), tie_word_embeddings=True, bos_token_id=0,
            eos_token_id=0, pad_token_id=0, **SHAPE,
        ),
        "lasttoken", 180, dict(pad_token="<|endoftext|>", eos_token="<|endoftext|>"),
        prompts={"query": "Instruct: Find the passage that answers the question\nQuery:", "document": ""},
        behind=[models.Normalize()], published=qwen_as_published,
    )


if __name__ == "__main__":
    main()
