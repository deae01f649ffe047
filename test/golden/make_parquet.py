"""Writes parquet/*.parquet: 23 small documents in three files, as the hub's are laid out (several row groups, zstd).

    python test/golden/make_parquet.py

Made with pyarrow 26.0.1. test/corpus.test.ts computes the documents' text by the same rule.
"""
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent / "parquet"
folder.mkdir(exist_ok=True)


def document(index):
    return "" if index == 13 else f"Document {index}, né 文書 😀\r\n" + "so it goes on. " * (index % 5)


start = 0
for file, (count, codec) in enumerate([(10, "zstd"), (9, "snappy"), (4, "none")]):
    rows = range(start, start + count)
    table = pa.table({"id": list(rows), "text": pa.array([document(index) for index in rows], pa.string())})
    pq.write_table(table, folder / f"train-{file:05d}-of-00003.parquet", row_group_size=4, compression=codec)
    start += count
