"""
PyTorch's side of the proof train-char-peer: trains the same GPT from the same weights on the same batches, in float32,
and writes the loss of each step.

    python test/proofs/train-char-peer.py FOLDER

FOLDER holds settings.json, weights.safetensors and batches.bin, which the proof makes; losses.json and, every five
steps, peer.pt appear beside them, so that a run that was stopped goes on.
"""

import json
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench"))
from peer import GPT, learning_rate, make_optimizer  # noqa: E402

# Folio's names to those of the peer's modules; Folio's products have their weights as [in, out].
PARTS = {
    "ln_1": "norm1",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.projection",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.expand",
    "mlp.c_proj": "mlp.projection",
}


def renamed(weights):
    outer = {"wte.weight": "tokens.weight", "wpe.weight": "positions.weight", "ln_f.weight": "norm.weight"}
    result = {}
    for name, tensor in weights.items():
        if name in outer:
            result[outer[name]] = tensor
            continue
        _, block, part = name.removesuffix(".weight").split(".", 2)
        product = tensor.dim() == 2
        result[f"blocks.{block}.{PARTS[part]}.weight"] = tensor.t().contiguous() if product else tensor
    result["head.weight"] = result["tokens.weight"]
    return result


def main(folder):
    s = SimpleNamespace(**json.loads((folder / "settings.json").read_text()))
    model = GPT(s)
    model.load_state_dict(renamed(load_file(folder / "weights.safetensors")))
    optimizer = make_optimizer(model, s)
    losses, saved = [], folder / "peer.pt"
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]
    batches = np.fromfile(folder / "batches.bin", dtype=np.int32).reshape(-1, s.batchSize, s.blockSize + 1)
    for step in range(len(losses), len(batches)):
        ids = torch.from_numpy(batches[step]).long()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, s)
        loss = model(ids[:, :-1], ids[:, 1:].contiguous())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), s.gradClip)
        optimizer.step()
        losses.append(loss.item())
        print(f"iter {step}: loss {losses[-1]:.6f}", flush=True)
        if (step + 1) % 5 == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
            torch.save(state, folder / "peer.partial")
            (folder / "peer.partial").rename(saved)
    (folder / "losses.json").write_text(json.dumps({"torch": torch.__version__, "losses": losses}))


main(pathlib.Path(sys.argv[1]))
