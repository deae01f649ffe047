"""Reads the tables of Porian 2024 out of their pickles, as CSV.

    python test/scaling/studies/convert.py summary_df.pickle.xz > porian.csv

A pickle is a program. This reader resolves only the names in ALLOWED, and every one of them to a class that holds data: it
runs nothing of pandas or NumPy, and needs neither. Any other name ends it with an error. The rows are the losses at each
budget after the authors' interpolation in compute, from which they find the optima: one row per configuration, budget and
model size.
"""

import csv
import lzma
import pickle
import struct
import sys


class Held:
    """An object of which only its arguments and its state are kept."""

    def __new__(cls, *args):
        held = super().__new__(cls)
        held.args, held.state = args, None
        return held

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        self.state = state


class Array(Held):
    """A NumPy array: `values` is the flat list of its elements."""

    def values(self):
        if self.state is not None:  # version, shape, dtype, is Fortran, content
            _, self.shape, dtype, self.fortran, content = self.state
            return content if isinstance(content, list) else decoded(content, dtype)
        content, dtype, self.shape, order = self.args
        self.fortran = order == "F"
        return decoded(bytes(content), dtype)


def decoded(content, dtype):
    kind = dtype.args[0]
    letters = {"f8": "d", "i8": "q", "f4": "f", "i4": "i", "b1": "?"}
    size = struct.calcsize(letters[kind])
    return list(struct.unpack(f"<{len(content) // size}{letters[kind]}", content))


def new_index(cls, fields):
    return cls(fields)


ALLOWED = {
    ("pandas.core.frame", "DataFrame"): Held,
    ("pandas.core.series", "Series"): Held,
    ("pandas.core.internals.managers", "BlockManager"): Held,
    ("pandas.core.internals.managers", "SingleBlockManager"): Held,
    ("pandas._libs.internals", "_unpickle_block"): Held,
    ("pandas.core.indexes.base", "_new_Index"): new_index,
    ("pandas.core.indexes.base", "Index"): Held,
    ("pandas.core.indexes.range", "RangeIndex"): Held,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy.core.multiarray", "scalar"): Held,
    ("numpy.core.numeric", "_frombuffer"): Array,
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Held,
    ("builtins", "slice"): slice,
}


class Reader(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"the pickle names {module}.{name}, which is not one of the allowed names")
        return ALLOWED[module, name]


def labels(index):
    """The labels of an index: a list, or those of a range."""
    fields = index.args[0]
    if "data" in fields:
        return fields["data"].values()
    return list(range(fields["start"], fields["stop"], fields["step"]))


def blocks_of(holder):
    """The axes and the blocks (values, places) of a DataFrame or Series."""
    manager = holder.state["_mgr"]
    if manager.args:
        blocks, axes = manager.args[:2]
        return axes, [(block.args[0], block.args[1]) for block in blocks]
    axes, _, _, more = manager.state
    held = more["0.14.1"]
    return held["axes"], [(block["values"], block["mgr_locs"]) for block in held["blocks"]]


def places(location, count):
    return range(*location.indices(count)) if isinstance(location, slice) else location.values()


def frame(holder):
    """A DataFrame as a list of dictionaries."""
    (columns, index), blocks = blocks_of(holder)
    names, count = labels(columns), len(labels(index))
    found = {}
    for values, location in blocks:
        flat = values.values()
        rows = list(places(location, len(names)))
        for k, place in enumerate(rows):
            found[names[place]] = flat[k :: len(rows)] if values.fortran else flat[k * count : (k + 1) * count]
    return [{name: found[name][row] for name in names} for row in range(count)]


def series(holder):
    _, [(values, _)] = blocks_of(holder)
    return values.values()


def main(file):
    with lzma.open(file) as opened:
        table = frame(Reader(opened).load())
    keys = ["dataset", "hparams", "warmup", "decay", "param_count", "val"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*keys, "c", "n", "loss", "their_exponent"])
    for row in table:
        theirs = number(row["fit_results"]["bs_median_weighted"]["n_exponent"])
        for budget in frame(row["data"]):
            if not isinstance(budget.get("orig_n"), Held):
                continue
            for n, loss in zip(series(budget["orig_n"]), series(budget["orig_loss"]), strict=True):
                writer.writerow([*(row[key] for key in keys), repr(budget["flops"]), repr(n), repr(loss), repr(theirs)])


def number(value):
    """A NumPy scalar."""
    return value if isinstance(value, float) else struct.unpack("<d", value.args[1])[0]


main(sys.argv[1])
