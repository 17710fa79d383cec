"""Shared parts of the benchmarks: a pipeline file, a run with its peak memory, the machine."""

import json
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# `SEMANTIK_BUILD=debug` measures the development build, to try a benchmark out.
BUILD = ROOT / os.environ.get("SEMANTIK_TARGET", "target") / os.environ.get("SEMANTIK_BUILD", "release")
SEMANTIK = BUILD / "semantik"
MODEL = ROOT / ".cache/models/all-MiniLM-L6-v2"
CORPORA = ROOT / ".cache/corpora"
# Packages that are measured completely: the folder in each, and its files.
WHOLE = [
    ("manpages-dev", "usr/share/man", '["**/*.gz"]'),
    ("postgresql-doc-15", "usr/share/doc", '["**/*.html"]'),
]

PIPELINE = """\
version: 1
name: bench
collection: bench
nodes:
  - {{ id: scan,    uses: scan,    with: {{ paths: [{corpus}], include: {include} }} }}
  - {{ id: hash,    uses: hash,    from: scan }}
  - {{ id: dedup,   uses: dedup,   from: hash }}
  - {{ id: extract, uses: extract, from: dedup }}
  - {{ id: chunk,   uses: chunk,   from: extract, with: {{ size: 256, overlap: 32 }} }}
  - {{ id: embed,   uses: embed,   from: chunk, with: {{ model: '{model}', dtype: {dtype}, window: {window} }} }}
  - {{ id: upsert,  uses: upsert,  from: embed }}
"""


def folder():
    """A new folder that the embedded Postgres can read, also if root runs it."""
    path = tempfile.mkdtemp(prefix="semantik-bench-")
    os.chmod(path, 0o755)
    return pathlib.Path(path)


def write_pipeline(place, corpus, model=MODEL, include='["**/*"]', dtype="auto", window=1024):
    (place / "pipeline.yaml").write_text(
        PIPELINE.format(corpus=corpus, model=model, include=include, dtype=dtype, window=window)
    )


def run(place, *flags):
    """Runs the pipeline; returns its report with the peak memory of the command in MiB."""
    child = subprocess.Popen(
        [SEMANTIK, "--log", "error", "run", "pipeline.yaml", "--json", *flags],
        cwd=place,
        stdout=subprocess.PIPE,
    )
    anonymous = Anonymous(child.pid)
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    anonymous.join()
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 2):
        raise SystemExit(f"the run exited with {code}")
    report = json.loads(said)
    report["peak_mib"] = usage.ru_maxrss / 1024
    report["anonymous_mib"] = anonymous.peak_kib / 1024
    report["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    return report


class Anonymous(threading.Thread):
    """Samples the anonymous memory of a process, which the system cannot reclaim."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak_kib = pid, 0
        self.start()

    def run(self):
        while True:
            try:
                status = open(f"/proc/{self.pid}/status").read()
            except (FileNotFoundError, ProcessLookupError):
                return
            found = re.search(r"RssAnon:\s+(\d+)", status)
            if not found:
                return
            self.peak_kib = max(self.peak_kib, int(found.group(1)))
            time.sleep(0.02)


def machine():
    cpu = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    flags = open("/proc/cpuinfo").read()
    simd = [name for name in ("avx2", "avx512f", "amx_bf16") if name in flags]
    return f"{os.cpu_count()} cores, {cpu}, {' '.join(simd)}"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
