"""
A training of Folio's repeated by nanoGPT's own model and optimizer, for the proof cpu-demo-seeds: from the same initial
weights, on the same batches.

    python test/proofs/nanogpt-replay.py NANOGPT FOLDER

NANOGPT is a checkout of nanoGPT. FOLDER holds settings.json, weights.safetensors and batches.bin, which the proof makes;
ckpt.pt, in nanoGPT's format, and losses.json, with the loss of each step, appear beside them.
"""

import json
import math
import pathlib
import sys
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file


def learning_rate(step, s):
    """nanoGPT's: a linear warm-up, then a cosine."""
    if step < s.warmupIters:
        return s.learningRate * (step + 1) / (s.warmupIters + 1)
    if step > s.lrDecayIters:
        return s.minLr
    share = (step - s.warmupIters) / (s.lrDecayIters - s.warmupIters)
    return s.minLr + 0.5 * (1 + math.cos(math.pi * share)) * (s.learningRate - s.minLr)


def main(nanogpt, folder):
    sys.path.insert(0, str(nanogpt))
    from model import GPT, GPTConfig

    s = SimpleNamespace(**json.loads((folder / "settings.json").read_text()))
    shape = {"n_layer": s.nLayer, "n_head": s.nHead, "n_embd": s.nEmbd, "block_size": s.blockSize}
    args = {**shape, "bias": s.bias, "vocab_size": s.vocabSize, "dropout": s.dropout}
    model = GPT(GPTConfig(**args))
    state = model.state_dict()
    for name, tensor in load_file(folder / "weights.safetensors").items():
        product = ".c_" in name and tensor.dim() == 2  # Folio's products have their weights as [in, out]
        state[f"transformer.{name}"].copy_(tensor.t() if product else tensor)
    optimizer = model.configure_optimizers(s.weightDecay, s.learningRate, (s.beta1, s.beta2), "cpu")
    batches = np.fromfile(folder / "batches.bin", dtype=np.int32).reshape(-1, s.batchSize, s.blockSize + 1)
    losses = []
    for step, batch in enumerate(batches):
        ids = torch.from_numpy(batch).long()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, s)
        _, loss = model(ids[:, :-1], ids[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), s.gradClip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "model_args": args, "config": vars(s)}
    torch.save({**saved, "iter_num": len(losses), "best_val_loss": losses[-1]}, folder / "ckpt.pt")
    (folder / "losses.json").write_text(json.dumps(losses))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
