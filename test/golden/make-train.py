"""Makes train.json and train.safetensors: a whole training, for test/train/golden.test.ts.

    pip install torch numpy safetensors
    python test/golden/make-train.py

nanoGPT's loop in PyTorch, float64: micro-batches accumulated, configure_optimizers' two groups, gradients clipped, the rate
warmed up and decayed, losses estimated on random batches of both splits, the best validation loss remembered. Rows are drawn
as lib/data/batches.ts says that it draws them: Philox4x32-10 (Salmon 2011) of (seed, use, step, row). The text is short and
the validation text another one, so that the model learns the one by heart: the best checkpoint is not the last, nor the one
of the lowest training loss. About half of the steps are clipped.

Tensors: start/<name>, and param/, m/ and v/<name> after the last step; best/<name>, the weights of the best evaluation.
Made with Python 3.11, torch 2.15, numpy 2.4, safetensors 0.8.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
L, H, C, T, V = 2, 2, 8, 6, 13
S = dict(
    nLayer=L, nHead=H, nEmbd=C, blockSize=T, vocabSize=V, bias=False, dropout=0.0, batchSize=3,
    gradientAccumulationSteps=3, learningRate=4e-2, minLr=4e-3, warmupIters=3, lrDecayIters=12, maxIters=14, beta1=0.8,
    beta2=0.93, weightDecay=0.3, gradClip=0.7, evalInterval=2, evalIters=3, seed=4711, decayLr=True, schedule="cosine",
)

# --- random numbers -------------------------------------------------------------------------------------------------

WORD = 2**32


def philox(state, key):
    c, k = list(state), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b // WORD) ^ c[1] ^ k[0], b % WORD, (a // WORD) ^ c[3] ^ k[1], a % WORD]
        k = [(k[0] + 0x9E3779B9) % WORD, (k[1] + 0xBB67AE85) % WORD]
    return c


def uniform(seed, *path):
    key, s = (seed % WORD, seed // WORD % WORD), [0, 0, 0, 0]
    for part in path:
        if isinstance(part, str):
            units = [ord(letter) for letter in part] + [0, 0, 0]
            for at in range(0, len(part), 4):
                s[0] ^= units[at] | units[at + 1] << 16
                s[1] ^= units[at + 2] | units[at + 3] << 16
                s[3] ^= 2
                s = philox(s, key)
            s[2] ^= len(part)
            s[3] ^= 2
        else:
            s[0] ^= part % WORD
            s[1] ^= part // WORD % WORD
            s[3] ^= 1
        s = philox(s, key)
    return ((s[0] >> 5) * 2**26 + (s[1] >> 6)) / 2**53


def batch(ids, use, step, first):
    starts = [math.floor(uniform(S["seed"], use, step, first + row) * (len(ids) - T)) for row in range(S["batchSize"])]
    x = torch.stack([ids[at : at + T] for at in starts])
    y = torch.stack([ids[at + 1 : at + T + 1] for at in starts])
    return x, y


# --- the model ------------------------------------------------------------------------------------------------------


def shapes():
    out = {"wte.weight": (V, C), "wpe.weight": (T, C)}
    for i in range(L):
        out |= {
            f"h.{i}.ln_1.weight": (C,), f"h.{i}.attn.c_attn.weight": (C, 3 * C), f"h.{i}.attn.c_proj.weight": (C, C),
            f"h.{i}.ln_2.weight": (C,), f"h.{i}.mlp.c_fc.weight": (C, 4 * C), f"h.{i}.mlp.c_proj.weight": (4 * C, C),
        }
    return out | {"ln_f.weight": (C,)}


def start(seed):
    g = torch.Generator().manual_seed(seed)
    normal = lambda name, shape: (1 + 0.2 * torch.randn(shape, generator=g)) if "ln_" in name else 0.15 * torch.randn(shape, generator=g)
    return {name: normal(name, shape) for name, shape in shapes().items()}


def loss_of(p, x, y):
    B = len(x)
    ln = lambda h, name: F.layer_norm(h, (C,), p[f"{name}.weight"], None, 1e-5)
    heads = lambda h: h.reshape(B, T, H, C // H).transpose(1, 2)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    h = p["wte.weight"][x] + p["wpe.weight"]
    for i in range(L):
        q, k, v = (ln(h, f"h.{i}.ln_1") @ p[f"h.{i}.attn.c_attn.weight"]).split(C, dim=2)
        scores = heads(q) @ heads(k).transpose(2, 3) / math.sqrt(C // H)
        mixed = scores.masked_fill(future, -math.inf).softmax(3) @ heads(v)
        h = h + mixed.transpose(1, 2).reshape(B, T, C) @ p[f"h.{i}.attn.c_proj.weight"]
        h = h + F.gelu(ln(h, f"h.{i}.ln_2") @ p[f"h.{i}.mlp.c_fc.weight"]) @ p[f"h.{i}.mlp.c_proj.weight"]
    logits = ln(h, "ln_f") @ p["wte.weight"].T
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


# --- the loop -------------------------------------------------------------------------------------------------------


def rate_of(step):
    if step < S["warmupIters"]:
        return S["learningRate"] * (step + 1) / (S["warmupIters"] + 1)
    if step > S["lrDecayIters"]:
        return S["minLr"]
    part = (step - S["warmupIters"]) / (S["lrDecayIters"] - S["warmupIters"])
    return S["minLr"] + 0.5 * (1 + math.cos(math.pi * part)) * (S["learningRate"] - S["minLr"])


def run(texts, first):
    p = {name: x.double().requires_grad_() for name, x in first.items()}
    # nanoGPT's configure_optimizers: matrices and tables decay, vectors do not.
    groups = [
        dict(params=[x for x in p.values() if x.dim() >= 2], weight_decay=S["weightDecay"]),
        dict(params=[x for x in p.values() if x.dim() < 2], weight_decay=0.0),
    ]
    adamw = torch.optim.AdamW(groups, lr=S["learningRate"], betas=(S["beta1"], S["beta2"]), eps=1e-8)
    micros, rows = S["gradientAccumulationSteps"], S["batchSize"]
    evals, steps, best = [], [], None
    for step in range(S["maxIters"] + 1):
        if step % S["evalInterval"] == 0 or step == S["maxIters"]:
            with torch.no_grad():
                losses = {
                    split: sum(loss_of(p, *batch(texts[split], f"eval-{split}", step, k * rows)).item() for k in range(S["evalIters"])) / S["evalIters"]
                    for split in ("train", "val")
                }
            better = best is None or losses["val"] < best["loss"]
            if better:
                best = dict(step=step, loss=losses["val"], params={n: x.detach().clone() for n, x in p.items()})
            evals.append(dict(step=step, trainLoss=losses["train"], valLoss=losses["val"], best=better))
        if step == S["maxIters"]:
            break
        for group in adamw.param_groups:
            group["lr"] = rate_of(step)
        total = 0.0
        for micro in range(micros):
            x, y = batch(texts["train"], "train", step, micro * rows)
            loss = loss_of(p, x, y) / micros
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(list(p.values()), S["gradClip"])
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        steps.append(dict(step=step, loss=total, gradNorm=norm.item(), learningRate=rate_of(step)))
    return p, adamw, evals, steps, best


def texts_of(seed):
    g = torch.Generator().manual_seed(seed)
    noisy = lambda ids, share: torch.where(torch.rand(len(ids), generator=g) < share, torch.randint(V, (len(ids),), generator=g), ids)
    at = torch.arange(150)
    return dict(train=noisy((at * at // 3 + 2 * at) % V, 0.05), val=noisy((at[:90] * at[:90] // 3 + 2 * at[:90]) % V, 0.45))


def main():
    torch.set_num_threads(1)
    for seed in range(1000):
        texts, first = texts_of(seed), start(seed)
        p, adamw, evals, steps, best = run(texts, first)
        clipped = sum(s["gradNorm"] > S["gradClip"] for s in steps)
        lowest = min(evals, key=lambda e: e["trainLoss"])["step"]
        if 4 <= clipped <= 10 and 0 < best["step"] < S["maxIters"] and lowest not in (best["step"], S["maxIters"]):
            break
    else:
        raise SystemExit("no seed gives such a training")
    out = dict(madeBy="test/golden/make-train.py", torch=torch.__version__.split("+")[0], seed=seed, settings=S,
               train=texts["train"].tolist(), val=texts["val"].tolist(), evals=evals, steps=steps, bestStep=best["step"])
    (HERE / "train.json").write_text(json.dumps(out) + "\n")
    tensors = {f"start/{n}": x for n, x in first.items()}
    for n, x in p.items():
        tensors |= {f"param/{n}": x, f"m/{n}": adamw.state[x]["exp_avg"], f"v/{n}": adamw.state[x]["exp_avg_sq"], f"best/{n}": best["params"][n]}
    save_file({k: x.detach().float().contiguous() for k, x in tensors.items()}, HERE / "train.safetensors")
    print(seed, clipped, best["step"], lowest)
    for row in evals + steps:
        print(row)


main()
