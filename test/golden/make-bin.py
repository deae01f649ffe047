"""Makes test/golden/gpt2/bin/: the weights of test/golden/gpt2/hf as older versions of transformers saved them.

    pip install torch numpy safetensors
    python test/golden/make-bin.py

    pytorch_model.bin               torch.save of the state dictionary, with the masks that it had then
    shards/pytorch_model-*.bin      the same in two files and an index
    before-1.6.bin                  a file in PyTorch's format of before 1.6
"""

import json
import pathlib

import torch
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent / "gpt2"


def main():
    state = load_file(HERE / "hf" / "model.safetensors")
    state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16, dtype=torch.uint8).tril()
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    target = HERE / "bin"
    (target / "shards").mkdir(parents=True, exist_ok=True)
    torch.save(state, target / "pytorch_model.bin")
    names = sorted(state)
    where = {}
    for part, some in enumerate([names[:11], names[11:]], 1):
        file = f"pytorch_model-0000{part}-of-00002.bin"
        torch.save({name: state[name] for name in some}, target / "shards" / file)
        where.update({name: file for name in some})
    (target / "shards" / "pytorch_model.bin.index.json").write_text(json.dumps(dict(weight_map=where)) + "\n")
    small = {"wte.weight": torch.ones(2, 2)}
    torch.save(small, target / "before-1.6.bin", _use_new_zipfile_serialization=False)


main()
