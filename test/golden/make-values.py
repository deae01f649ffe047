"""Makes values.safetensors: every intermediate value of a forward pass and its gradient, for test/inspect/look.test.ts, and
what lib/inspect/measures/ makes of them, for test/inspect/measures.test.ts.

    pip install torch numpy safetensors
    python test/golden/make-values.py

The first text of each model of index.json, with the parameters of its <model>.safetensors, in float64; the gradients are those
of the mean loss of the text's next tokens. Names: <model>/<value>, <model>/gradient/<value>, <model>/measure/<measure>.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)


def forward(config, params, ids, change=None):
    """(logits, values by name); each value keeps its gradient. `change(name, value)` may replace values."""
    values = {}
    T, C, H = len(ids), config["nEmbd"], config["nHead"]
    D = C // H

    def at(name, value):
        value = change(name, value) if change else value
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


def head_of(config, params):
    return params["wte.weight" if config["tieHead"] else "lm_head.weight"]


def states(config):
    return ["embed"] + [f"h.{layer}.{part}" for layer in range(config["nLayer"]) for part in ("resid_mid", "resid_out")]


def lens(config, params, values):
    """The logits that the end of the model makes of each state of the residual stream."""
    C = config["nEmbd"]
    for name in states(config):
        normed = F.layer_norm(values[name], (C,), params["ln_f.weight"], params.get("ln_f.bias"))
        yield f"lens/{name}", normed[0] @ head_of(config, params).T


def attribution(config, params, values, token, minus):
    """Each component times the gradient of logit[token] - logit[minus] at the last position, the norm's scale being a constant."""
    x = values[f"h.{config['nLayer'] - 1}.resid_out"][0, -1].detach().requires_grad_()
    scale = values["ln_f.scale"][0, -1].detach()
    bias = params["ln_f.bias"] if config["bias"] else torch.zeros(config["nEmbd"], dtype=torch.double)
    direction = head_of(config, params)[token] - head_of(config, params)[minus]
    ((x - x.mean()) / scale * params["ln_f.weight"] @ direction).backward()
    components = [values["wte"][0, -1], values["wpe"][-1]]
    for layer in range(config["nLayer"]):
        components += list(values[f"h.{layer}.attn.head_out"][0, :, -1])
        if config["bias"]:
            components.append(params[f"h.{layer}.attn.c_proj.bias"])
        components.append(values[f"h.{layer}.mlp.out"][0, -1])
    found = [component @ x.grad for component in components]
    return torch.stack(found + [bias @ direction] if config["bias"] else found)


def patching(config, params, clean, corrupted, token, minus):
    """By value: (patched - corrupted) / (clean - corrupted) of a logit difference at the last position, rows x positions."""

    def metric(logits):
        return logits[0, -1, token] - logits[0, -1, minus]

    logits, source = forward(config, params, clean)
    best, worst = metric(logits), metric(forward(config, params, corrupted)[0])

    def effect(place, position, head=None):
        def change(name, value):
            if name != place:
                return value
            value = value.clone()
            where = (0, slice(None) if head is None else head, position) if value.dim() == 4 else (0, position)
            value[where] = source[place][where]
            return value

        return (metric(forward(config, params, corrupted, change)[0]) - worst) / (best - worst)

    positions = range(len(corrupted))
    for part in ("resid_mid", "resid_out", "attn.out", "mlp.out", "attn.head_out"):
        heads = range(config["nHead"]) if part == "attn.head_out" else [None]
        rows = [(f"h.{layer}.{part}", head) for layer in range(config["nLayer"]) for head in heads]
        yield f"patching/{part}", torch.stack([torch.stack([effect(p, at, h) for at in positions]) for p, h in rows])


def updates(config, stored):
    """By part of the model: norms of gradient, weights and update of one AdamW step on one row, as the test sets it."""
    params = {name: tensor.double().requires_grad_() for name, tensor in stored.items()}
    text = torch.tensor([(7 * i + 3) % config["vocabSize"] for i in range(config["blockSize"] + 1)])
    F.cross_entropy(forward(config, params, text[:-1])[0][0], text[1:]).backward()
    order = ["wte", "wpe", *(f"h.{layer}" for layer in range(config["nLayer"])), "ln_f", "lm_head"]
    found = {part: [p for name, p in params.items() if name.startswith(f"{part}.")] for part in order}
    parts = {part: members for part, members in found.items() if members}
    norm = lambda tensors: torch.sqrt(sum((tensor**2).sum() for tensor in tensors))
    gradients = [norm([tensor.grad for tensor in members]) for members in parts.values()]
    weights = [norm(members).detach() for members in parts.values()]
    before = {name: tensor.detach().clone() for name, tensor in params.items()}
    groups = [
        {"params": [p for p in params.values() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in params.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    torch.nn.utils.clip_grad_norm_(params.values(), 1.0)
    torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8).step()
    changes = {id(params[name]): params[name].detach() - before[name] for name in params}
    moved = [norm([changes[id(tensor)] for tensor in members]) for members in parts.values()]
    return torch.stack([torch.stack(gradients), torch.stack(weights), torch.stack(moved)])


def measures(config, params, entry, logits, values):
    ids, other = (torch.tensor(row) for row in entry["ids"][:2])
    yield from lens(config, params, values)
    yield "losses", F.cross_entropy(logits[0, :-1], ids[1:], reduction="none")
    yield "norms", torch.stack([values[name][0].norm(dim=-1) for name in states(config)])
    weights = torch.stack([values[f"h.{layer}.attn.weights"][0] for layer in range(config["nLayer"])])
    yield "entropy", torch.special.entr(weights).sum(-1)
    yield "attribution", attribution(config, params, values, 3, 8)
    yield from patching(config, params, ids, other, 3, 8)
    yield "updates", updates(config, {name: tensor.detach() for name, tensor in params.items()})


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
        for name, value in measures(entry["config"], params, entry, logits, values):
            out[f"{model}/measure/{name}"] = value.detach().float().contiguous()
    save_file(out, HERE / "values.safetensors")


main()
