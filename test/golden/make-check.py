"""Makes check.json, what `folio check gpt2` should find in a small GPT-2: computed by Hugging Face's transformers.

    pip install torch numpy transformers
    node test/golden/check-ids.mjs | python test/golden/make-check.py

Standard input holds GPT-2's ids of the prompts and of the text (js-tiktoken's). The weights are digits of sines, which
test/check/small-gpt2.ts computes too, so that no file of weights is needed.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers

SHAPE = dict(vocab_size=50257, n_positions=64, n_embd=16, n_layer=2, n_head=2)


def noise(shape, number):
    """Numbers from -1 to 1, the far digits of a sine. number: the tensor's place in the list of parameters."""
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.float64)
    far = np.sin((index + 1) * 12.9898 + number * 78.233) * 43758.5453
    return (2 * (far - np.floor(far)) - 1).astype(np.float32).reshape(shape)


def value_of(name, shape, number):
    if ".ln_" in name or name.startswith("ln_f"):
        return (1 if name.endswith("weight") else 0) + np.float32(0.1) * noise(shape, number)
    return np.float32(0.5 if name.startswith("wte") else 0.3) * noise(shape, number)


def main():
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    config = transformers.GPT2Config(**SHAPE, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = transformers.GPT2LMHeadModel(config).eval()
    names = asked["parameters"]
    tensors = dict(model.transformer.named_parameters())
    assert sorted(names) == sorted(tensors), sorted(set(names) ^ set(tensors))
    with torch.no_grad():
        for number, name in enumerate(names):
            tensors[name].copy_(torch.from_numpy(np.asarray(value_of(name, tensors[name].shape, number))))

    def greedy(ids, count):
        rows, margins = torch.tensor([ids]), []
        with torch.no_grad():
            for _ in range(count):
                top = model(rows).logits[:, -1].topk(2)
                margins.append((top.values[0, 0] - top.values[0, 1]).item())
                rows = torch.cat([rows, top.indices[:, :1]], 1)
        return {"ids": ids, "continuation": rows[0, len(ids) :].tolist(), "smallestMargin": min(margins)}

    T = SHAPE["n_positions"]
    text = torch.tensor(asked["text"])
    with torch.no_grad():
        logits = model(text[:-1].reshape(-1, T)).logits
        loss = F.cross_entropy(logits.flatten(0, 1), text[1:])
    out = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "prompts": [greedy(ids, 8) for ids in asked["prompts"]],
        "loss": loss.item(),
        "targets": len(asked["text"]) - 1,
    }
    pathlib.Path(__file__).with_name("check.json").write_text(json.dumps(out) + "\n")


main()
