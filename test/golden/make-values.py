"""Makes values.safetensors: every intermediate value of a forward pass and its gradient, for test/inspect/look.test.ts.

    pip install torch numpy safetensors
    python test/golden/make-values.py

The first text of each model of index.json, with the parameters of its <model>.safetensors, in float64; the gradients are those
of the mean loss of the text's next tokens. Names: <model>/<value>, <model>/gradient/<value>.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)


def forward(config, params, ids):
    """(logits, values by name); each value keeps its gradient."""
    values = {}
    T, C, H = len(ids), config["nEmbd"], config["nHead"]
    D = C // H

    def at(name, value):
        value.retain_grad()
        values[name] = value
        return value

    def norm(x, name):
        centered = x - x.mean(-1, keepdim=True)
        scale = at(f"{name}.scale", torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-5))
        y = centered / scale * params[f"{name}.weight"]
        return at(name, y + params[f"{name}.bias"] if config["bias"] else y)

    def affine(x, name):
        y = x @ params[f"{name}.weight"]
        return y + params[f"{name}.bias"] if config["bias"] else y

    tokens = at("wte", params["wte.weight"][ids][None])
    places = at("wpe", params["wpe.weight"][:T])
    x = at("embed", tokens + places)
    hidden = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    for layer in range(config["nLayer"]):
        h = f"h.{layer}"
        qkv = affine(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn")
        q, k, v = (part.view(1, T, H, D).transpose(1, 2) for part in qkv.split(C, 2))
        q, k, v = at(f"{h}.attn.q", q), at(f"{h}.attn.k", k), at(f"{h}.attn.v", v)
        scores = at(f"{h}.attn.scores", q @ k.transpose(2, 3) / math.sqrt(D))
        weights = at(f"{h}.attn.weights", scores.masked_fill(hidden, -math.inf).softmax(-1))
        heads = at(f"{h}.attn.heads", weights @ v)
        each = at(f"{h}.attn.head_out", heads @ params[f"{h}.attn.c_proj.weight"].view(1, H, D, C))
        out = each.sum(1)
        out = at(f"{h}.attn.out", out + params[f"{h}.attn.c_proj.bias"] if config["bias"] else out)
        x = at(f"{h}.resid_mid", x + out)
        before = at(f"{h}.mlp.pre", affine(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"))
        active = at(f"{h}.mlp.act", F.gelu(before, approximate="tanh" if config["gelu"] == "tanh" else "none"))
        thought = at(f"{h}.mlp.out", affine(active, f"{h}.mlp.c_proj"))
        x = at(f"{h}.resid_out", x + thought)
    head = params["wte.weight" if config["tieHead"] else "lm_head.weight"]
    return at("logits", norm(x, "ln_f") @ head.T), values


def main():
    index = json.loads((HERE / "index.json").read_text())
    out = {}
    for model, entry in index["models"].items():
        stored = load_file(HERE / f"{model}.safetensors")
        prefix = "param/"
        params = {
            name[len(prefix) :]: tensor.double().requires_grad_()
            for name, tensor in stored.items()
            if name.startswith(prefix)
        }
        ids = torch.tensor(entry["ids"][0])
        logits, values = forward(entry["config"], params, ids)
        F.cross_entropy(logits[0, :-1], ids[1:]).backward()
        for name, value in values.items():
            out[f"{model}/{name}"] = value.detach().float().contiguous()
            # The last position's values may have no influence on the loss.
            gradient = torch.zeros_like(value) if value.grad is None else value.grad
            out[f"{model}/gradient/{name}"] = gradient.float().contiguous()
    save_file(out, HERE / "values.safetensors")


main()
