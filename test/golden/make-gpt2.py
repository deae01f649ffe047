"""Makes what test/pickle, torch-checkpoint and gpt2.test.ts read: files as Python and its libraries write them.

    pip install torch numpy safetensors transformers
    python test/golden/make-gpt2.py

Files, all in test/golden/gpt2/:
    pickles.json            one value pickled in protocols 0 to 5, and pickles that call something, in base64
"""

import base64
import collections
import json
import os
import pathlib
import pickle

HERE = pathlib.Path(__file__).parent / "gpt2"
HERE.mkdir(exist_ok=True)


# --- pickles -------------------------------------------------------------------------------------


class Caller:
    """Pickles to a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles():
    shared = [1]
    value = {
        "vocab_size": 3,
        "itos": {0: "\n", 1: "é", 2: "🙂\\"},
        "stoi": {"\n": 0, "é": 1, "🙂\\": 2, "__proto__": 3},
        "integers": [0, 1, -1, 255, 256, 65535, 65536, 2**31, -(2**31), 2**40, 2**53 - 1, -(2**63), 2**100],
        "floats": [1.5, -0.0, float("inf"), 1e-300],
        "plain": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "bytes": [b"", b"\x00\xff"],
        "sets": [{7}, frozenset([8]), set()],
        "ordered": collections.OrderedDict(b=1, a=2),
        "long": ["x" * 300, list(range(1001))],
        "shared": [shared, shared],
    }
    text = lambda data: base64.b64encode(data).decode()
    hostile = {
        "os.system": Caller(os.system, "touch pwned"),
        "builtins.eval": [{"deep": (Caller(eval, "__import__('os').system('touch pwned')"),)}],
        "collections.Counter": collections.Counter("aab"),
    }
    out = {
        "protocols": [text(pickle.dumps(value, protocol)) for protocol in range(6)],
        "hostile": {
            name: [text(pickle.dumps(value, protocol)) for protocol in range(6)] for name, value in hostile.items()
        },
    }
    (HERE / "pickles.json").write_text(json.dumps(out) + "\n")


pickles()
