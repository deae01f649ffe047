"""
One run of nanoGPT's own code for the proof cpu-demo-seeds, with another seed: nanoGPT has no setting for it.

    python test/proofs/nanogpt-seed.py NANOGPT SEED DATASET --flag=value …

NANOGPT is a checkout of nanoGPT, which is left as it is; DATASET a folder with train.bin, val.bin and meta.json as Folio
prepares them. The flags are those of its train.py; the working directory gets data/ and what train.py writes.
"""

import json
import pathlib
import pickle
import runpy
import shutil
import sys

import torch


def main():
    nanogpt, seed, dataset = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    here = pathlib.Path.cwd()
    data = here / "data" / dataset.name
    data.mkdir(parents=True, exist_ok=True)
    for name in ("train.bin", "val.bin"):
        shutil.copy(dataset / name, data / name)
    meta = {"vocab_size": json.loads((dataset / "meta.json").read_text())["vocabSize"]}
    (data / "meta.pkl").write_bytes(pickle.dumps(meta))
    for name in ("configurator.py", "config"):  # read relative to the working directory
        target = here / name
        if not target.exists():
            (shutil.copytree if (nanogpt / name).is_dir() else shutil.copy)(nanogpt / name, target)
    given = torch.manual_seed
    torch.manual_seed = lambda _: given(seed)  # train.py asks for 1337
    sys.path.insert(0, str(nanogpt))
    sys.argv = [str(nanogpt / "train.py"), *sys.argv[4:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
    (here / "done.json").write_text(json.dumps({"torch": torch.__version__, "seed": seed}))


main()
