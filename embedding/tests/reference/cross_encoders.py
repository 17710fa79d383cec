"""Generates the small cross-encoders for the tests of `embedding`, in the environment of `architectures.py`.

    python embedding/tests/reference/cross_encoders.py

Writes next to this file one folder per architecture, in the format of published models, with random
16-bit weights and `reference.safetensors`: scores (float32) and ids that sentence-transformers
computes for pairs of `texts.jsonl`, given by the indices `query` and `passage`.
"""

import os
import shutil

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from sentence_transformers import CrossEncoder

from architectures import HERE, SHAPE, VOCABULARY, byte_level, edit, every_text, unigram, wordpiece


def pairs():
    texts = every_text()
    longest = max(range(len(texts)), key=lambda at: len(texts[at].split()))
    # A question, a text of another script, a short text, and one that is truncated.
    queries = [3, 22, texts.index("semantik"), longest]
    passages = [at for at in range(0, len(texts), 9)] + [longest]
    return [(query, passage) for query in queries for passage in passages]


def reference(folder):
    texts, chosen = every_text(), pairs()
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    # One pair at a time: without padding, scores do not depend on a batch.
    scores = [model.predict([(texts[query], texts[passage])])[0] for query, passage in chosen]
    ids = [model.preprocess([(texts[query], texts[passage])])["input_ids"][0].numpy() for query, passage in chosen]
    return {
        "query": np.array([query for query, _ in chosen], dtype=np.int64),
        "passage": np.array([passage for _, passage in chosen], dtype=np.int64),
        "scores": np.array(scores, dtype=np.float32),
        "ids": np.concatenate(ids).astype(np.int64),
        "lengths": np.array([len(one) for one in ids], dtype=np.int64),
    }


def make(name, tokenizer, config, limit, special, published=lambda folder: None, variants=None):
    """Writes a small cross-encoder; `variants` are changes of its configuration with scores of their own."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(7)
    config.num_labels = 1
    model = transformers.AutoModelForSequenceClassification.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Large enough that every part of the model affects the scores.
            parameter.add_(torch.randn_like(parameter) * 0.2)
        for part in ("classifier.weight", "classifier.out_proj.weight"):
            if part in (state := model.state_dict()):
                state[part].mul_(4)
    model.half().save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=limit, **special)
    fast.save_pretrained(folder)
    published(folder)
    stored = reference(folder)
    for variant, change in (variants or {}).items():
        config = (folder / "config.json").read_text()
        edit(folder, change)
        stored[f"{variant}.scores"] = reference(folder)["scores"]
        (folder / "config.json").write_text(config)
    save_file(stored, folder / "reference.safetensors")
    scores = stored["scores"]
    print(name, "scores", scores.min(), scores.mean(), scores.max(), "std", scores.std(), "longest", stored["lengths"].max())
    print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()), "bytes")


def without_sigmoid(folder):
    """The configuration of cross-encoder/ms-marco-MiniLM-L6-v2."""
    edit(folder, lambda config: config.update(sentence_transformers=dict(activation_fn="torch.nn.modules.linear.Identity", version="4.0.1")))


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = dict(unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]")
    make(
        "tiny-bert-reranker", wordpiece(special, "[UNK]", "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
        transformers.BertConfig(vocab_size=VOCABULARY, max_position_embeddings=160, pad_token_id=0, **SHAPE), 150,
        names | dict(model_input_names=["input_ids", "token_type_ids", "attention_mask"]), without_sigmoid,
    )
    make(
        "tiny-modernbert-reranker", byte_level(special, "[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]"),
        transformers.ModernBertConfig(
            vocab_size=VOCABULARY, max_position_embeddings=200, local_attention=16, pad_token_id=0, bos_token_id=2,
            eos_token_id=3, cls_token_id=2, sep_token_id=3, classifier_pooling="cls", **SHAPE | dict(num_hidden_layers=4),
        ),
        180, names | dict(model_input_names=["input_ids", "attention_mask"]), without_sigmoid,
        variants={"mean": lambda config: config.update(classifier_pooling="mean")},
    )
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = dict(bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>")
    make(
        "tiny-xlm-roberta-reranker", unigram(special, "<unk>", "<s> $A </s>", "<s> $A </s> </s> $B </s>"),
        transformers.XLMRobertaConfig(
            max_position_embeddings=130, layer_norm_eps=1e-5, type_vocab_size=1, bos_token_id=0, pad_token_id=1,
            eos_token_id=2, vocab_size=VOCABULARY, **SHAPE,
        ),
        128, names | dict(model_input_names=["input_ids", "attention_mask"]),
    )


if __name__ == "__main__":
    main()
