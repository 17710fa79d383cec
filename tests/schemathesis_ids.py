"""Hooks of schemathesis: half of the ids in paths are those of things that there are.

An id that a generator makes up names nothing, so behind it nothing is tested but 404. `REAL_IDS` holds JSON: the name of each
parameter with its ids. Accounts are never that of whoever asks, or the run would lock itself out.
"""

import json
import os

import schemathesis

IDS = json.loads(os.environ.get("REAL_IDS", "{}"))


def is_half(value):
    """Decided by the value that was made up, so that a run can be repeated."""
    return sum(str(value).encode()) % 2 == 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, value in (path_parameters or {}).items():
        if IDS.get(name) and is_half(value):
            path_parameters[name] = IDS[name][len(str(value)) % len(IDS[name])]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    # Deleting the collection, or its only documents, would leave nothing to ask.
    if query and query.get("confirm") == os.environ.get("COLLECTION"):
        query["confirm"] = "another"
    return query
