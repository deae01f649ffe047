"""
The peer of `folio bench --peer PYTHON`: the training step of the same GPT in PyTorch, as fast as PyTorch's own means
make it (scaled_dot_product_attention, fused AdamW, torch.compile, autocast, gradients set to None). It answers the
requests of lib/bench/protocol.ts, a JSON object a line, and waits for the next one without using the processor.

`peer.py train SETTINGS.json` is nanoGPT's whole loop instead (evaluations, log, checkpoints), for proofs.
"""

import contextlib
import itertools
import json
import math
import os
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class LayerNorm(nn.Module):
    """Layer norm whose bias is optional."""

    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    """Causal self-attention; queries, keys and values from one product."""

    def __init__(self, s):
        super().__init__()
        self.heads, self.dropout = s.nHead, s.dropout
        self.qkv = nn.Linear(s.nEmbd, 3 * s.nEmbd, bias=s.bias)
        self.projection = nn.Linear(s.nEmbd, s.nEmbd, bias=s.bias)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in self.qkv(x).split(C, dim=2))
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        y = self.projection(y.transpose(1, 2).contiguous().view(B, T, C))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.approximate, self.dropout = "tanh" if s.gelu == "tanh" else "none", s.dropout
        self.expand = nn.Linear(s.nEmbd, 4 * s.nEmbd, bias=s.bias)
        self.projection = nn.Linear(4 * s.nEmbd, s.nEmbd, bias=s.bias)

    def forward(self, x):
        x = self.projection(F.gelu(self.expand(x), approximate=self.approximate))
        return F.dropout(x, self.dropout, self.training)


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.norm1, self.attention = LayerNorm(s.nEmbd, s.bias), Attention(s)
        self.norm2, self.mlp = LayerNorm(s.nEmbd, s.bias), MLP(s)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """GPT-2; ids and targets [B, T] in, mean loss out."""

    def __init__(self, s):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(s.vocabSize, s.nEmbd), nn.Embedding(s.blockSize, s.nEmbd)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.nLayer))
        self.norm = LayerNorm(s.nEmbd, s.bias)
        self.head = nn.Linear(s.nEmbd, s.vocabSize, bias=False)
        if s.tieHead:
            self.head.weight = self.tokens.weight
        self.dropout = s.dropout
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() > 1:
                residual = math.sqrt(2 * s.nLayer) if name.endswith("projection.weight") else 1
                nn.init.normal_(parameter, std=0.02 / residual)

    def forward(self, x, y):
        positions = torch.arange(x.shape[1], device=x.device)
        h = F.dropout(self.tokens(x) + self.positions(positions), self.dropout, self.training)
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def make_optimizer(model, s):
    """AdamW, decay on parameters of two or more dimensions; fused where this PyTorch has it for the device."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": s.weightDecay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    options = {"lr": s.learningRate, "betas": (s.beta1, s.beta2)}
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except RuntimeError:
        return torch.optim.AdamW(groups, **options)


def learning_rate(step, s):
    """nanoGPT's: linear warm-up, then a cosine."""
    if not s.decayLr:
        return s.learningRate
    if step < s.warmupIters:
        return s.learningRate * (step + 1) / (s.warmupIters + 1)
    if step > s.lrDecayIters:
        return s.minLr
    p = (step - s.warmupIters) / max(1, s.lrDecayIters - s.warmupIters)
    return s.minLr + 0.5 * (1 + math.cos(math.pi * p)) * (s.learningRate - s.minLr)


def random_batches(s, device):
    """Eight batches of random ids in turn."""
    ids = lambda: torch.randint(s.vocabSize, (s.batchSize, s.blockSize), device=device)
    batches = itertools.cycle([(ids(), ids()) for _ in range(8)])
    return lambda split: next(batches)


def dataset_batches(s, device):
    """Rows at random offsets of the dataset's token files, as nanoGPT reads them."""
    folder = os.path.join(s.dataDir, s.dataset)
    with open(os.path.join(folder, "meta.json"), encoding="utf-8") as file:
        dtype = json.load(file)["dtype"]

    def batch(split):
        # Opened anew each time, as in nanoGPT: a memory map that is kept grows.
        data = np.memmap(os.path.join(folder, f"{split}.bin"), dtype=dtype, mode="r")
        starts = torch.randint(len(data) - s.blockSize, (s.batchSize,)).tolist()
        rows = torch.stack([torch.from_numpy(data[i : i + s.blockSize + 1].astype(np.int64)) for i in starts])
        rows = rows.to(device)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    return batch


class Training:
    """A model, its optimizer and its batches."""

    def __init__(self, s, real_data):
        torch.manual_seed(s.seed)
        self.s = s
        self.device = "cuda" if s.device != "cpu" and torch.cuda.is_available() else "cpu"
        if self.device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = getattr(s, "tf32", True)
        self.plain = GPT(s).to(self.device)
        self.model = torch.compile(self.plain) if s.compile else self.plain
        self.optimizer = make_optimizer(self.plain, s)
        self.scaler = torch.amp.GradScaler(self.device, enabled=s.dtype == "float16")
        dtype = getattr(torch, s.dtype)
        self.autocast = (
            contextlib.nullcontext if s.dtype == "float32" else lambda: torch.autocast(self.device, dtype=dtype)
        )
        self.batch = dataset_batches(s, self.device) if real_data else random_batches(s, self.device)
        self.steps = 0

    def step(self):
        """One update. Returns the loss, read."""
        s = self.s
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.steps, s)
        total = 0.0
        for _ in range(s.gradientAccumulationSteps):
            x, y = self.batch("train")
            with self.autocast():
                loss = self.model(x, y) / s.gradientAccumulationSteps
            self.scaler.scale(loss).backward()
            total += loss.detach()
        if s.gradClip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.plain.parameters(), s.gradClip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return total.item()


def peak_memory():
    """Peak resident memory; on Linux the peak then begins anew."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return peak


def answer(request, held):
    if request["op"] == "open":
        s = SimpleNamespace(**request["settings"])
        torch.set_num_threads(request["threads"])
        held.training = Training(s, request["realData"])
        name = torch.cuda.get_device_name() if held.training.device == "cuda" else "cpu"
        return {"device": held.training.device, "deviceName": name, "dtype": s.dtype, "version": f"PyTorch {torch.__version__}"}
    if request["op"] == "run":
        times = []
        for _ in range(request["count"]):
            started = time.perf_counter()
            loss = held.training.step()
            times.append((time.perf_counter() - started) * 1000)
        return {"ms": times, "loss": loss if math.isfinite(loss) else None}
    if request["op"] == "memory":
        return {"peakBytes": peak_memory()}
    raise ValueError(f"Cannot {request['op']}: PyTorch's process does not do that.")


def serve():
    # What libraries print goes to stderr; answers alone to stdout.
    answers, sys.stdout = sys.stdout, sys.stderr
    held = SimpleNamespace(training=None)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), held)
        except Exception as error:  # the command prints it as one line
            reply = {"error": f"PyTorch: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


@torch.no_grad()
def evaluate(training, split):
    """Mean loss over evalIters random batches."""
    training.plain.eval()
    losses = torch.zeros(training.s.evalIters)
    for index in range(training.s.evalIters):
        x, y = training.batch(split)
        with training.autocast():
            losses[index] = training.model(x, y)
    training.plain.train()
    return losses.mean().item()


def train(s):
    """nanoGPT's loop: evaluations, a log line per step, a checkpoint when the validation loss is the best so far."""
    os.makedirs(s.outDir, exist_ok=True)
    training, best = Training(s, real_data=True), math.inf
    for step in range(s.maxIters + 1):
        if step % s.evalInterval == 0 or step == s.maxIters:
            train_loss, val_loss = evaluate(training, "train"), evaluate(training, "val")
            print(f"step {step}: train loss {train_loss:.4f}, val loss {val_loss:.4f}", flush=True)
            if val_loss < best or s.alwaysSaveCheckpoint:
                best = min(best, val_loss)
                state = {"model": training.plain.state_dict(), "optimizer": training.optimizer.state_dict()}
                if step > 0:
                    torch.save({**state, "step": step, "best_val_loss": best}, os.path.join(s.outDir, "ckpt.pt"))
        if step == s.maxIters:
            break
        started = time.perf_counter()
        loss = training.step()
        if step % s.logInterval == 0:
            print(f"iter {step}: loss {loss:.4f}, time {(time.perf_counter() - started) * 1000:.2f}ms", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "train":
        with open(sys.argv[2], encoding="utf-8") as file:
            train(SimpleNamespace(**json.load(file)))
    else:
        serve()
