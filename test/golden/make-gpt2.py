"""Makes what test/pickle, torch-checkpoint and gpt2.test.ts read: files as Python and its libraries write them.

    pip install torch numpy safetensors transformers
    python test/golden/make-gpt2.py

Files, all in test/golden/gpt2/:
    pickles.json     one value pickled in protocols 0 to 5, and pickles that call something, in base64
    layouts.pt       torch.save of tensors in every type and layout that is read; layouts.json has their values
    ckpt.pt          a checkpoint as nanoGPT's train.py saves one, after 3 steps of AdamW
    compiled.pt      another: with biases, torch.compile's prefix, and saved before the first evaluation
    hf/              a Hugging Face GPT-2 of random weights
    index.json       logits, greedy continuations, losses of the next steps
"""

import base64
import collections
import json
import os
import pathlib
import pickle

import torch
import torch.nn as nn
import torch.nn.functional as F
import transformers

HERE = pathlib.Path(__file__).parent / "gpt2"


# --- pickles -------------------------------------------------------------------------------------


class Caller:
    """Pickles to a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles():
    shared = [1]
    value = {
        "vocab_size": 3,
        "itos": {0: "\n", 1: "é", 2: "🙂\\"},
        "stoi": {"\n": 0, "é": 1, "🙂\\": 2, "__proto__": 3},
        "integers": [0, 1, -1, 255, 256, 65535, 65536, 2**31, -(2**31), 2**40, 2**53 - 1, -(2**63), 2**100],
        "floats": [1.5, -0.0, float("inf"), 1e-300],
        "plain": (None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "bytes": [b"", b"\x00\xff"],
        "sets": [{7}, frozenset([8]), set()],
        "ordered": collections.OrderedDict(b=1, a=2),
        "long": ["x" * 300, list(range(1001))],
        "shared": [shared, shared],
    }
    text = lambda data: base64.b64encode(data).decode()
    hostile = {
        "os.system": Caller(os.system, "touch pwned"),
        "builtins.eval": [{"deep": (Caller(eval, "__import__('os').system('touch pwned')"),)}],
        "collections.Counter": collections.Counter("aab"),
    }
    out = {
        "protocols": [text(pickle.dumps(value, protocol)) for protocol in range(6)],
        "hostile": {
            name: [text(pickle.dumps(value, protocol)) for protocol in range(6)] for name, value in hostile.items()
        },
    }
    (HERE / "pickles.json").write_text(json.dumps(out) + "\n")


# --- tensors in every layout ---------------------------------------------------------------------


def layouts():
    base = torch.arange(60, dtype=torch.float32) - 7.25
    tensors = {
        "plain": base.reshape(3, 20),
        "sliced": base.reshape(3, 20)[1:, 5:9],
        "transposed": base.reshape(6, 10).t(),
        "permuted": base.reshape(3, 4, 5).permute(2, 0, 1),
        "expanded": base[:4].reshape(4, 1)[:2].expand(2, 2),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "float16": torch.tensor([1.5, -65504.0, 6e-8, 1 / 3]).half(),
        "bfloat16": torch.tensor([1.5, -3e38, 1e-40, 1 / 3]).bfloat16(),
        "float64": torch.tensor([1.5, 1 / 3], dtype=torch.float64),
        "int64": torch.tensor([-5, 2**40]),
        "int32": torch.tensor([-5, 7], dtype=torch.int32),
        "bool": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.tensor([[1.0, 2.0]])),
    }
    torch.save(tensors, HERE / "layouts.pt")
    values = {name: dict(shape=list(t.shape), values=t.float().flatten().tolist()) for name, t in tensors.items()}
    (HERE / "layouts.json").write_text(json.dumps(values) + "\n")


# --- checkpoints of nanoGPT ----------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, C, H, T, bias):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(C, 3 * C, bias), nn.Linear(C, C, bias)
        self.H = H
        # What nanoGPT keeps where PyTorch has no flash attention.
        self.register_buffer("bias", torch.tril(torch.ones(T, T)).view(1, 1, T, T))

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (y.view(B, T, self.H, C // self.H).transpose(1, 2) for y in self.c_attn(x).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class Norm(nn.Module):
    def __init__(self, C, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(C))
        self.bias = nn.Parameter(torch.zeros(C)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Perceptron(nn.Module):
    def __init__(self, C, bias):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(C, 4 * C, bias), nn.Linear(4 * C, C, bias)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, C, H, T, bias):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = Norm(C, bias), Attention(C, H, T, bias), Norm(C, bias), Perceptron(C, bias)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Model(nn.Module):
    """The modules and names of nanoGPT's state dictionary, in its order; the forward pass is our own."""

    def __init__(self, n_layer, n_head, n_embd, block_size, bias, vocab_size, dropout):
        super().__init__()
        self.transformer = nn.ModuleDict(
            dict(
                wte=nn.Embedding(vocab_size, n_embd),
                wpe=nn.Embedding(block_size, n_embd),
                h=nn.ModuleList([Block(n_embd, n_head, block_size, bias) for _ in range(n_layer)]),
                ln_f=Norm(n_embd, bias),
            )
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe(torch.arange(ids.shape[1]))
        for block in t.h:
            x = block(x)
        return self.lm_head(t.ln_f(x))

    def loss(self, ids, targets):
        return F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())


SETTINGS = dict(weight_decay=0.1, learning_rate=1e-2, beta1=0.9, beta2=0.95, grad_clip=0.0)


def optimizer_of(model):
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        dict(params=[p for p in parameters if p.dim() >= 2], weight_decay=SETTINGS["weight_decay"]),
        dict(params=[p for p in parameters if p.dim() < 2], weight_decay=0.0),
    ]
    return torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"], betas=(SETTINGS["beta1"], SETTINGS["beta2"]))


def steps(model, optimizer, batches):
    losses = []
    for ids, targets in batches:
        loss = model.loss(ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def nanogpt(name, seed, bias, compiled):
    args = dict(n_layer=2, n_head=2, n_embd=8, block_size=6, bias=bias, vocab_size=11, dropout=0.0)
    torch.manual_seed(seed)
    model = Model(**args)
    with torch.no_grad():
        for parameter in model.parameters():  # far from an initialisation: gains off one, attention off uniform
            parameter.add_(0.3 * torch.randn(parameter.shape))
    batches = [(torch.randint(11, (2, 6)), torch.randint(11, (2, 6))) for _ in range(6)]
    optimizer = optimizer_of(model)
    steps(model, optimizer, batches[:3])
    logits = model(batches[3][0]).tolist()
    config = dict(out_dir="out", dataset="shakespeare_char", compile=compiled, device="cpu", max_iters=5, **SETTINGS)
    checkpoint = {
        "model": {("_orig_mod." if compiled else "") + key: value for key, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": args,
        "iter_num": 3,
        "best_val_loss": 1e9 if compiled else torch.tensor(2.5),
        "config": config,
    }
    torch.save(checkpoint, HERE / f"{name}.pt")
    state = {k: v for k, v in model.state_dict().items() if not k.endswith(".attn.bias")}
    return {
        "parameters": sum(v.numel() for k, v in state.items() if k != "lm_head.weight"),
        "ids": batches[3][0].tolist(),
        "logits": logits,
        "next": [dict(x=x.tolist(), y=y.tolist(), loss=loss) for (x, y), loss in zip(batches[3:], steps(model, optimizer, batches[3:]))],
    }


# --- Hugging Face --------------------------------------------------------------------------------


def hugging_face():
    torch.manual_seed(5)
    config = transformers.GPT2Config(
        vocab_size=41, n_positions=16, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    model.save_pretrained(HERE / "hf")
    ids = torch.randint(41, (2, 9))
    with torch.no_grad():
        logits = model(ids).logits
        greedy = ids[:1, :4]
        for _ in range(10):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    return {"ids": ids.tolist(), "logits": logits.tolist(), "greedy": greedy[0].tolist()}


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    pickles()
    layouts()
    index = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "ckpt": nanogpt("ckpt", 3, bias=False, compiled=False),
        "compiled": nanogpt("compiled", 4, bias=True, compiled=True),
        "hf": hugging_face(),
    }
    (HERE / "index.json").write_text(json.dumps(index) + "\n")
