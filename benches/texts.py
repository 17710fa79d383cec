"""Chunks of real documents for the measurements, of three kinds of length, and the engine that reads them."""

import gzip
import html
import json
import random
import re
import subprocess

import harness

LONGEST = 254


def pages():
    """The text of manual pages and of HTML pages, a list of paragraphs each."""
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
    """The model's tokenizer; it cuts nothing off and fills nothing up."""
    # Whoever wants no tokens need not have it.
    from tokenizers import Tokenizer

    whole = Tokenizer.from_file(str(harness.MODEL / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    return whole


def squeezed(text):
    return " ".join(text.split())


def chunks(count, tokenizer):
    """`count` chunks of each kind: short ones, as documents have them, and as long as the model reads."""
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
        # Cut at words: a piece that begins or ends within one would have other tokens.
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
    """Paragraphs put together up to the model's length, as a chunker does; a longer one is cut at words."""
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
    """The engine, asked round by round; see embedding/examples/rates.rs."""

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
            raise SystemExit(f"the engine ended at `{command}`")
        return json.loads(answer)

    def use(self, numbers):
        """Goes on with some of the texts; gives how many tokens each has."""
        return self.ask("use " + json.dumps(list(numbers), separators=(",", ":")))["lengths"]


def operations(config, lengths):
    """Multiplications and additions of BERT's layers over sequences of these lengths, times two as usual."""
    width, wide = config["hidden_size"], config["intermediate_size"]
    dense = 2 * (4 * width * width + 2 * width * wide)
    return config["num_hidden_layers"] * sum(length * (dense + 4 * length * width) for length in lengths)
