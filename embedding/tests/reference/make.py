"""Generates the reference vectors for the tests of `embedding` with sentence-transformers.

    python3 -m venv /tmp/reference && . /tmp/reference/bin/activate
    pip install torch==2.11.0 sentence-transformers==5.7.0 transformers==4.57.6 tokenizers==0.22.2
    python embedding/tests/reference/make.py .cache/models/all-MiniLM-L6-v2

Writes next to this file:
    texts.jsonl                       the texts, one JSON string per line
    all-MiniLM-L6-v2.safetensors      their vectors and token ids, by the real model
    tiny-bert-cls/, tiny-e5/          small models with random weights in the Hugging Face layout,
                                      each with `reference.safetensors` for every third text

Everything is seeded: the same versions give the same files, except for the last bits of vectors.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as vocabularies
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent

PROSE = """
The kernel keeps a queue of pages that were not used for a while, and gives them up first.
Every morning she walked along the river, past the mill, to the small bakery at the bridge.
A transaction either happens as a whole or not at all; that is what atomicity means.
How do I undo the last commit without losing my changes?
The treaty was signed in 1648 and ended thirty years of war in central Europe.
Water boils at 100 °C at sea level, but at 71 °C on the summit of Mount Everest.
Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.
An index speeds up reading and slows down writing; choose the columns with care.
The quick brown fox jumps over the lazy dog.
If the file does not exist, open() returns -1 and sets errno to ENOENT.
"Nobody expects the Spanish Inquisition!" he shouted, and left by the window.
Prices rose by 3.5 % in the second quarter (from €1,200.50 to €1,242.52).
Please send your résumé to jobs@example.org before 2024-02-29T23:59:60Z.
He didn't say that they're coming; she'd've known, wouldn't she?
Sphinx of black quartz, judge my vow!
""".strip().splitlines()

LANGUAGES = """
Der Zug nach Köln fährt heute von Gleis 12 — bitte achten Sie auf die Ansagen.
Größe, Maße, Straße, Fußgängerübergang und Donaudampfschifffahrtsgesellschaftskapitän.
Où est passé l'élève qui n'a pas rendu son devoir d'été à l'hôtel ?
¿Dónde está la biblioteca? El niño comió piña mañana por la mañana.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Η γρήγορη καφέ αλεπού πηδάει πάνω από το τεμπέλικο σκυλί· ΣΊΣΥΦΟΣ.
İstanbul'da ılık bir akşam, ağaçların gölgesinde çay içtik.
敏捷的棕色狐狸跳过了懒狗。数据库索引可以加快查询速度。
東京は日本の首都です。データベースのインデックスは検索を速くします。
빠른 갈색 여우가 게으른 개를 뛰어넘습니다. 데이터베이스 색인.
الثعلب البني السريع يقفز فوق الكلب الكسول. قَاعِدَةُ بَيَانَاتٍ
השועל החום המהיר קופץ מעל הכלב העצלן.
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ
Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng.
Příliš žluťoučký kůň úpěl ďábelské ódy.
ქართული ენა და დამწერლობა. Հայերեն լեզու.
""".strip().splitlines()

CODE = [
    "fn main() { println!(\"{}\", 1 + 1); }",
    "for (int i = 0; i < n; ++i) { a[i] = b[i] * 2; } // doubles",
    "SELECT id, name FROM users WHERE email LIKE '%@example.org' ORDER BY name LIMIT 10;",
    "def f(x):\n    return x ** 2 if x > 0 else -x\n\n\nprint(f(3))\n",
    "<div class=\"row\"><a href='/x?y=1&amp;z=2'>link</a></div>",
    "{\"name\": \"semantik\", \"version\": [0, 1, 0], \"ok\": true, \"none\": null}",
    "$ tar -xzf archive.tar.gz && cd archive && ./configure --prefix=/usr && make -j4",
    "0x7ffde1a2b3c4 0b1010 1e-12 3.14159265358979 1_000_000 \\u00e9 \\n\\t",
    "git rebase -i HEAD~3 --autosquash; git push --force-with-lease",
    "std::unordered_map<std::string, std::vector<int>> index{{\"a\", {1, 2}}};",
    "E = mc², ∑_{i=0}^{n} i = n(n+1)/2, ∀x∈ℝ: x² ≥ 0, α→β, ½ ⅔ ﬁ ﬂ ™ ℃",
]

ODD = [
    "a", "I", "semantik", "42", "?", "…", "é", "ß", "中", "あ", "가", "👍", "\u200b", "\ufeff", "\ufffd",
    "", " ", "\n", "\t \n  ", "\u00a0", "\u3000", "\u0000", "\u0007\u001b[31mred\u001b[0m",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag 👍🏽 skin ❤️ heart", "🚀🚀🚀 to the moon 🌕", "(╯°□°)╯︵ ┻━┻",
    "e\u0301 is é, o\u0308 is ö, a\u0323\u0302 is ậ", "a" * 99, "a" * 100, "a" * 101, "x" * 5000,
    "Pneumonoultramicroscopicsilicovolcanoconiosis", "ab" * 60 + " short " + "cd" * 49,
    "[CLS] [SEP] [PAD] [UNK] [MASK]", "an [MASK]ed word, [SEP]arated", "[cls] [sep]", "##ing ##ed",
    "!!!???...,,,;;;:::---___***///", "-----BEGIN CERTIFICATE-----", "A B C D E F G H I J K L M N",
    "ALL CAPITALS ARE LOUD", "MiXeD CaSe ToKeNs", "ǅ ŉ ſ ẞ Ⅷ ⓐ Ａ ｆｕｌｌ ｗｉｄｔｈ", "\u202eright to left\u202c",
    "tab\tseparated\tvalues\r\nand\rcarriage\nreturns\u2028line\u2029paragraph\u0085next", "a\u00adb soft\u00adhyphen",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝓈𝒸𝓇𝒾𝓅𝓉 𠜎𠜱𠝹", "中文English混合text123数字", "カタカナ ﾊﾝｶｸ ひらがな", "\U000f0000 private \ue000",
    "www.example.org/path/to/page.html?query=value#fragment", "C:\\Windows\\System32\\drivers\\etc\\hosts",
]


def texts():
    yield from ODD
    yield from PROSE
    yield from LANGUAGES
    yield from CODE
    # Every length from a few tokens to far beyond the limit of the model.
    everything = PROSE + LANGUAGES + CODE
    random = np.random.default_rng(1)
    for count in [*range(2, 40), 60, 90, 150]:
        yield " ".join(random.choice(everything, size=count))
    for count in [1, 3, 7, 20, 50, 100, 200, 250, 253, 254, 255, 256, 257, 400, 1000]:
        yield " ".join(random.choice("the of and water index kernel bridge war light page".split(), size=count))
    for _ in range(60):
        words = " ".join(random.choice(everything, size=3)).split()
        random.shuffle(words)
        yield " ".join(words[: random.integers(1, 30)])


def reference(folder, all_texts, kinds=("document",)):
    """Vectors and ids for each kind of text, with the prompts of the folder."""
    model = SentenceTransformer(str(folder), device="cpu")
    model.eval()
    out = {}
    for kind in kinds:
        prompt = model.prompts.get(kind) or ""
        # One text at a time: without padding, vectors do not depend on a batch.
        out[f"{kind}.vectors"] = np.stack(
            [model.encode(text, prompt=prompt or None, convert_to_numpy=True) for text in all_texts]
        ).astype(np.float32)
        ids = [model.tokenize([prompt + text])["input_ids"][0].numpy() for text in all_texts]
        out[f"{kind}.ids"] = np.concatenate(ids).astype(np.int64)
        out[f"{kind}.lengths"] = np.array([len(one) for one in ids], dtype=np.int64)
    return out


def tiny(name, tokenizer, config, pooling, prompts):
    """Writes a small sentence-transformers model with random weights."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    scratch = folder.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    torch.manual_seed(7)
    bert = BertModel(BertConfig(vocab_size=tokenizer.get_vocab_size(), **config))
    with torch.no_grad():
        for parameter in bert.parameters():
            # Large enough that every part of the model affects the vectors.
            parameter.add_(torch.randn_like(parameter) * 0.2)
    bert.save_pretrained(scratch)
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(scratch)
    transformer = models.Transformer(str(scratch), max_seq_length=config["max_position_embeddings"] - 8)
    pool = models.Pooling(bert.config.hidden_size, pooling_mode=pooling)
    modules = [transformer, pool] + ([models.Normalize()] if pooling == "mean" else [])
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder), create_model_card=False)
    shutil.rmtree(scratch)
    return folder


def template():
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece(corpus):
    tokenizer = Tokenizer(vocabularies.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=700, special_tokens=SPECIAL))
    tokenizer.post_processor = template()
    return tokenizer


def unigram(corpus):
    """A tokenizer like that of multilingual E5: unigram subwords with `▁` for spaces."""
    tokenizer = Tokenizer(vocabularies.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(__import__("tokenizers").Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=700, special_tokens=SPECIAL, unk_token="[UNK]")
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = template()
    return tokenizer


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    all_texts = list(texts())
    assert len(all_texts) >= 200
    with open(HERE / "texts.jsonl", "w") as out:
        for text in all_texts:
            out.write(json.dumps(text) + "\n")
    save_file(reference(sys.argv[1], all_texts), HERE / "all-MiniLM-L6-v2.safetensors")

    corpus = PROSE + LANGUAGES + CODE
    shape = dict(num_hidden_layers=2, num_attention_heads=4, hidden_size=32, intermediate_size=64)
    cls = tiny(
        "tiny-bert-cls", wordpiece(corpus), dict(shape, hidden_act="gelu_new", max_position_embeddings=72), "cls", {}
    )
    save_file(reference(cls, all_texts[::3]), cls / "reference.safetensors")
    e5 = tiny(
        "tiny-e5", unigram(corpus), dict(shape, layer_norm_eps=1e-5, max_position_embeddings=104), "mean",
        {"query": "query: ", "document": "passage: "},
    )
    save_file(reference(e5, all_texts[::3], ("document", "query")), e5 / "reference.safetensors")
    print(f"{len(all_texts)} texts")


main()
