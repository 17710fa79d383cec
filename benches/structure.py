"""Prints figures of the structure of the code: sizes of files, public items, names, doctests, cycles of modules.

    benches/structure.py [CHECKOUT]

Unit tests, at the end of a file (`#[cfg(test)]`) or in a file `tests.rs`, do not count. Public items are lines that begin with `pub` (fields and
methods included), without `pub(...)`. A cycle of modules is a strongly connected set of files of one crate that refer to
each other by `crate::`, `super::` or `self::`.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1])


def crates():
    """The source folders, by the name of their crate."""
    found = {path.parent.name: path for path in sorted(ROOT.glob("*/src")) if (path.parent / "Cargo.toml").exists()}
    return {**found, "root": ROOT / "src"}


def code(path):
    """The lines of a file before its unit tests."""
    lines = path.read_text().splitlines()
    end = next((at for at, line in enumerate(lines) if "#[cfg(test)]" in line), len(lines))
    return lines[:end]


def modules(folder):
    """Each file with the path of its module."""
    found = {}
    for path in folder.rglob("*.rs"):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        found[() if parts in (["lib"], ["main"]) else tuple(parts)] = path
    return found


def references(found, module, lines):
    """The modules that a file names in paths."""
    text = "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    # A list in braces names the modules in it, not the one before it.
    text = re.sub(r"\b((?:crate|super|self)(?:::\w+)*)::\{([^{}]*)\}",
                  lambda use: " ".join(f"{use[1]}::{name}" for name in re.findall(r"\w[\w:]*", use[2])), text)
    for root, rest in re.findall(r"\b(crate|super|self)::((?:\w+::)*\w+)", text):
        rest = rest.removesuffix("::self")
        base = {"crate": (), "super": module[:-1], "self": module}[root]
        parts = base + tuple(rest.split("::"))
        while parts and parts not in found:
            parts = parts[:-1]
        if parts in found and parts != module and parts:
            yield parts


def cycles(folder):
    """The numbers of files of the cycles of a crate."""
    found = modules(folder)
    edges = {module: set(references(found, module, code(path))) for module, path in found.items()}
    index, low, stack, order, sizes = {}, {}, [], [0], []

    def visit(module):
        index[module] = low[module] = order[0]
        order[0] += 1
        stack.append(module)
        for other in edges[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            size = 0
            while True:
                size += 1
                if stack.pop() == module:
                    break
            if size > 1:
                sizes.append(size)

    sys.setrecursionlimit(10_000)
    for module in found:
        if module not in index:
            visit(module)
    return sizes


def main():
    types, total, long, longest, doctests = collections.Counter(), 0, 0, 0, 0
    print("| crate | files | lines | public items | cycles (files) |\n|---|---|---|---|---|")
    for name, folder in crates().items():
        files = {path: code(path) for path in sorted(folder.rglob("*.rs")) if path.name != "tests.rs"}
        lines = [line for content in files.values() for line in content]
        public = sum(bool(re.match(r"\s*pub (?!use|mod)", line)) for line in lines)
        found = cycles(folder)
        print(f"| {name} | {len(files)} | {len(lines)} | {public} | {len(found)} ({sum(found)}) |")
        total += len(lines)
        long += sum(len(content) > 300 for content in files.values())
        longest += sum(len(content) > 450 for content in files.values())
        for line in lines:
            types.update(re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union) (\w+)", line))
        doctests += len(re.findall(r"^\s*//[/!] ```(?:rust|no_run|should_panic)?$", "\n".join(lines), re.M)) // 2
    print(f"\nlines {total}; files over 300 lines {long}, over 450 lines {longest}; "
          f"types {sum(types.values())} with {len(types)} names; doctests {doctests}")


if __name__ == "__main__":
    main()
