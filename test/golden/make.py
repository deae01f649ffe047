"""Makes the golden values that test/model.test.ts and test/optimizer.test.ts compare with.

    pip install torch numpy safetensors
    python test/golden/make.py

Everything is computed by PyTorch in float64 from float32 inputs and stored as float32, so the values
carry no rounding of their own. Running it again with the versions named in index.json writes the same
bytes. The model below is GPT-2 written as one function over a dictionary of tensors that bear Hugging
Face's names and shapes (Conv1D weights: [in, out]); what it computes for nanoGPT (clipping, decay
groups, learning rate, top-k) follows nanoGPT's documented behaviour.

Files, all in this folder:
    <model>.safetensors     param/<name>, grad/<name>, logits, h.0.attn (probabilities), h.<i>.out
    <model>-adamw.safetensors   param/<name> after 20 steps
    index.json              configurations, ids, targets, losses, batches, learning rates, filtered logits
"""

import json
import math
import pathlib
import platform

import numpy
import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)

# --- the model -----------------------------------------------------------------------------------

MODELS = {
    # nanoGPT's own choice: no biases, erf GELU, tied head
    "erf": dict(nLayer=2, nHead=2, nEmbd=16, blockSize=12, vocabSize=65, bias=False, gelu="erf", tieHead=True),
    # GPT-2's and Hugging Face's choice: biases, tanh GELU, tied head
    "tanh": dict(nLayer=2, nHead=2, nEmbd=16, blockSize=8, vocabSize=23, bias=True, gelu="tanh", tieHead=True),
    # a head of its own, four narrow heads
    "untied": dict(nLayer=2, nHead=4, nEmbd=16, blockSize=16, vocabSize=11, bias=True, gelu="erf", tieHead=False),
}


def shapes(c):
    C, bias = c["nEmbd"], c["bias"]
    out = {"wte.weight": (c["vocabSize"], C), "wpe.weight": (c["blockSize"], C)}

    def norm(name):
        out[f"{name}.weight"] = (C,)
        if bias:
            out[f"{name}.bias"] = (C,)

    def affine(name, rows, columns):
        out[f"{name}.weight"] = (rows, columns)
        if bias:
            out[f"{name}.bias"] = (columns,)

    for i in range(c["nLayer"]):
        norm(f"h.{i}.ln_1")
        affine(f"h.{i}.attn.c_attn", C, 3 * C)
        affine(f"h.{i}.attn.c_proj", C, C)
        norm(f"h.{i}.ln_2")
        affine(f"h.{i}.mlp.c_fc", C, 4 * C)
        affine(f"h.{i}.mlp.c_proj", 4 * C, C)
    norm("ln_f")
    if not c["tieHead"]:
        out["lm_head.weight"] = (c["vocabSize"], C)
    return out


def random_parameters(c, seed):
    """Far from an initialisation on purpose: gains off one, biases off zero, attention off uniform."""
    g = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes(c).items():
        x = torch.randn(shape, generator=g)
        if "ln_" in name:
            out[name] = 1 + 0.3 * x if name.endswith("weight") else 0.2 * x
        elif name.endswith("bias"):
            out[name] = 0.1 * x
        elif "attn.c_attn" in name:
            out[name] = 0.35 * x
        else:
            out[name] = 0.2 * x
    return out


def forward(p, ids, c):
    seen = {}
    B, T = ids.shape
    C, H = c["nEmbd"], c["nHead"]

    def norm(x, name):
        return F.layer_norm(x, (C,), p[f"{name}.weight"], p.get(f"{name}.bias"), 1e-5)

    def affine(x, name):
        y = x @ p[f"{name}.weight"]
        return y + p[f"{name}.bias"] if f"{name}.bias" in p else y

    def heads(x):
        return x.reshape(B, T, H, C // H).transpose(1, 2)

    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    x = p["wte.weight"][ids] + p["wpe.weight"][:T]
    for i in range(c["nLayer"]):
        q, k, v = affine(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(C, dim=2)
        scores = heads(q) @ heads(k).transpose(2, 3) / math.sqrt(C // H)
        probabilities = scores.masked_fill(future, -math.inf).softmax(dim=3)
        seen.setdefault("h.0.attn", probabilities)
        merged = (probabilities @ heads(v)).transpose(1, 2).reshape(B, T, C)
        x = x + affine(merged, f"h.{i}.attn.c_proj")
        wide = F.gelu(affine(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="none" if c["gelu"] == "erf" else "tanh")
        x = x + affine(wide, f"h.{i}.mlp.c_proj")
        seen[f"h.{i}.out"] = x
    head = p["wte.weight"] if c["tieHead"] else p["lm_head.weight"]
    return norm(x, "ln_f") @ head.T, seen


def loss_of(p, ids, targets, c):
    logits, seen = forward(p, ids, c)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1), logits, seen


def doubles(p):
    return {name: x.double().requires_grad_() for name, x in p.items()}


def write(name, tensors):
    save_file({k: x.detach().float().contiguous() for k, x in tensors.items()}, HERE / f"{name}.safetensors")


def golden_model(name, c, seed):
    stored = random_parameters(c, seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, T = 3, c["blockSize"] if name != "erf" else c["blockSize"] - 1  # erf: shorter than the block
    ids = torch.randint(c["vocabSize"], (B, T), generator=g)
    targets = torch.randint(c["vocabSize"], (B, T), generator=g)
    targets[0, :3] = -1
    targets[2, T // 2 :] = -1
    p = doubles(stored)
    loss, logits, seen = loss_of(p, ids, targets, c)
    loss.backward()
    write(
        name,
        {f"param/{n}": x for n, x in stored.items()}
        | {f"grad/{n}": x.grad for n, x in p.items()}
        | {"logits": logits}
        | seen,
    )
    return dict(config=c, ids=ids.tolist(), targets=targets.tolist(), loss=loss.item()), stored


# --- nanoGPT's training step ---------------------------------------------------------------------


def learning_rate(it, s):
    if it < s["warmupIters"]:
        return s["learningRate"] * (it + 1) / (s["warmupIters"] + 1)
    if it > s["lrDecayIters"]:
        return s["minLr"]
    part = (it - s["warmupIters"]) / (s["lrDecayIters"] - s["warmupIters"])
    return s["minLr"] + (s["learningRate"] - s["minLr"]) * 0.5 * (1 + math.cos(math.pi * part))


def golden_adamw(name, c, stored, seed, grad_clip):
    s = dict(
        learningRate=1e-2, minLr=1e-3, warmupIters=4, lrDecayIters=18, beta1=0.9, beta2=0.95,
        weightDecay=0.1, gradClip=grad_clip, gradientAccumulationSteps=2, batchSize=3,
    )
    p = doubles(stored)
    groups = [
        {"params": [x for x in p.values() if x.dim() >= 2], "weight_decay": s["weightDecay"]},
        {"params": [x for x in p.values() if x.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=s["learningRate"], betas=(s["beta1"], s["beta2"]), eps=1e-8)
    g = torch.Generator().manual_seed(seed)
    T, V = c["blockSize"], c["vocabSize"]
    # a repeating text with noise, so that there is something to learn
    text = (torch.arange(400) * 3 + (torch.rand(400, generator=g) < 0.1) * torch.randint(V, (400,), generator=g)) % V
    steps = []
    for it in range(20):
        for group in adamw.param_groups:
            group["lr"] = learning_rate(it, s)
        micro = []
        for _ in range(s["gradientAccumulationSteps"]):
            at = torch.randint(400 - T - 1, (s["batchSize"],), generator=g).tolist()
            x = torch.stack([text[a : a + T] for a in at])
            y = torch.stack([text[a + 1 : a + T + 1] for a in at])
            loss = loss_of(p, x, y, c)[0]
            (loss / s["gradientAccumulationSteps"]).backward()
            micro.append(dict(x=x.tolist(), y=y.tolist(), loss=loss.item()))
        norm = torch.nn.utils.clip_grad_norm_(list(p.values()), s["gradClip"])
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        steps.append(
            dict(
                learningRate=learning_rate(it, s),
                loss=sum(m["loss"] for m in micro) / len(micro),
                gradNorm=norm.item(),  # before clipping
                micro=micro,
            )
        )
    write(f"{name}-adamw", {f"param/{n}": x for n, x in p.items()})
    return dict(model=name, settings=s, steps=steps)


# nanoGPT's threshold clips every step of the first model; this one clips about half of the second's
CLIPS = {"erf": 1.0, "tanh": 1.4}


# --- schedules and sampling ----------------------------------------------------------------------

SCHEDULES = {
    "gpt2": dict(learningRate=6e-4, minLr=6e-5, warmupIters=2000, lrDecayIters=600000),
    "char": dict(learningRate=1e-3, minLr=1e-4, warmupIters=100, lrDecayIters=5000),
    "no warm-up": dict(learningRate=1e-3, minLr=0.0, warmupIters=0, lrDecayIters=10),
}


def golden_schedules():
    out = []
    for name, s in SCHEDULES.items():
        w, d = s["warmupIters"], s["lrDecayIters"]
        its = sorted({0, 1, w // 2, max(w - 1, 0), w, w + 1, (w + d) // 2, d - 1, d, d + 1, 2 * d})
        out.append(dict(name=name, settings=s, at=[[it, learning_rate(it, s)] for it in its]))
    return out


def golden_filters():
    """softmax of logits/temperature, where all below the k-th largest is struck out; equals of the k-th stay."""
    g = torch.Generator().manual_seed(77)
    plain = (3 * torch.randn(11, generator=g)).tolist()
    ties = [1.0, 2.0, 2.0, -1.0, 2.0, 0.5]
    out = []
    for logits, temperature, k in [
        (plain, 1.0, None), (plain, 0.8, None), (plain, 0.8, 1), (plain, 0.8, 4), (plain, 1.7, 11),
        (plain, 0.8, 200), (ties, 0.5, 2),
    ]:
        x = torch.tensor(logits, dtype=torch.float64) / temperature
        if k is not None:
            kth = torch.topk(x, min(k, len(logits))).values[-1]
            x = x.masked_fill(x < kth, -math.inf)
        out.append(dict(logits=logits, temperature=temperature, topK=k or 0, probabilities=x.softmax(0).tolist()))
    return out


def main():
    index = dict(
        madeBy="test/golden/make.py",
        versions=dict(
            python=platform.python_version(), torch=torch.__version__.split("+")[0],
            numpy=numpy.__version__, safetensors=safetensors.__version__,
        ),
        models={}, adamw=[], schedules=golden_schedules(), filters=golden_filters(),
    )
    for seed, (name, c) in enumerate(MODELS.items(), start=1):
        index["models"][name], stored = golden_model(name, c, 100 * seed)
        if name in CLIPS:
            index["adamw"].append(golden_adamw(name, c, stored, 1000 * seed, CLIPS[name]))
    (HERE / "index.json").write_text(json.dumps(index, separators=(",", ":")) + "\n")
    for f in sorted(HERE.iterdir()):
        print(f"{f.stat().st_size:8d}  {f.name}")


main()
