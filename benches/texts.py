"""Chunks of real documents in three length distributions, and the engine that embeds them."""

import gzip
import html
import json
import random
import re
import subprocess

import harness

LONGEST = 254


def pages():
    """The text of manual pages and of HTML pages, each as a list of paragraphs."""
    for path in sorted((harness.CORPORA / "manpages-dev").rglob("*.gz")):
        if not path.is_file() or path.is_symlink():
            continue
        source = gzip.open(path, "rt", errors="replace").read()
        text = re.sub(r"^[.'](SH|SS|PP|P|LP|TP|IP|HP)\b.*$", "\n\n", source, flags=re.M)
        text = re.sub(r"^[.']\\\".*$|^[.'][A-Za-z]+ ?|\\f.|\\[-&|]|\\\(..", "", text, flags=re.M)
        yield [part for part in map(squeezed, text.split("\n\n")) if part]
    for path in sorted((harness.CORPORA / "postgresql-doc-15").rglob("*.html")):
        text = re.sub(r"(?s)<(script|style).*?</\1>", " ", path.read_text(errors="replace"))
        text = re.sub(r"</?(p|div|li|dt|dd|pre|h\d|tr|table)\b[^>]*>", "\n\n", text)
        text = html.unescape(re.sub(r"<[^>]*>", " ", text))
        yield [part for part in map(squeezed, text.split("\n\n")) if part]


def tokenizer():
    """The tokenizer of the model, without truncation and padding."""
    # An optional dependency; benchmarks without tokens do not need it.
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(harness.MODEL / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    return whole


def squeezed(text):
    return " ".join(text.split())


def chunks(count, tokenizer):
    """`count` chunks of each kind: short, mixed as in documents, and as long as the model limit."""
    random.seed(1)
    documents = [page for page in pages() if page]
    random.shuffle(documents)
    kinds = {"short": [], "mixed": [], "full": []}
    for paragraphs in documents:
        encoded = tokenizer.encode_batch(paragraphs, add_special_tokens=False)
        kinds["short"] += [text for text, one in zip(paragraphs, encoded) if 8 <= len(one.ids) <= 48][:10]
        kinds["mixed"] += packed(paragraphs, encoded)
        whole = " ".join(paragraphs)
        offsets = tokenizer.encode(whole, add_special_tokens=False).offsets
        # Cut at words: a part of a word has other tokens.
        at = 0
        while at + LONGEST < len(offsets):
            to = at + LONGEST
            while to > at and offsets[to][0] == offsets[to - 1][1]:
                to -= 1
            if to - at >= LONGEST - 3:
                kinds["full"].append(whole[offsets[at][0]: offsets[to - 1][1]])
            at = max(to, at + 1)
        if all(len(found) >= count for found in kinds.values()):
            break
    return {kind: found[:count] for kind, found in kinds.items()}


def packed(paragraphs, encoded):
    """Paragraphs packed up to the model limit, like a chunker; longer ones are cut at words."""
    made, current, size = [], [], 0
    for text, one in zip(paragraphs, encoded):
        length = len(one.ids)
        if size + length > LONGEST and current:
            made.append(" ".join(current))
            current, size = [], 0
        if length > LONGEST:
            words = text.split()
            step = max(1, len(words) * LONGEST // length - 8)
            made += [" ".join(words[at: at + step]) for at in range(0, len(words), step)]
            continue
        current.append(text)
        size += length
    return made + [" ".join(current)] * bool(current)


class Engine:
    """The engine, controlled round by round; see embedding/examples/rates.rs."""

    def __init__(self, place, texts, model=harness.MODEL, device="cpu"):
        file = place / "texts.jsonl"
        file.write_text("".join(json.dumps(text) + "\n" for text in texts))
        self.child = subprocess.Popen(
            [harness.BUILD / "examples/rates", model, file, device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=harness.ROOT,
        )

    def ask(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise SystemExit(f"the engine exited at `{command}`")
        return json.loads(answer)

    def use(self, numbers):
        """Selects some of the texts; returns the number of tokens of each."""
        return self.ask("use " + json.dumps(list(numbers), separators=(",", ":")))["lengths"]


def operations(config, lengths):
    """Floating-point operations of the layers of BERT for these lengths: two per multiply-add."""
    width, wide = config["hidden_size"], config["intermediate_size"]
    dense = 2 * (4 * width * width + 2 * width * wide)
    return config["num_hidden_layers"] * sum(length * (dense + 4 * length * width) for length in lengths)
