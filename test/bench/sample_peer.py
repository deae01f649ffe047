"""Tokens a second of the peers, for test/proofs/sampling.ts: Hugging Face's generate() with its cache on a GPT-2 of
random weights, and nanoGPT's way, the whole context again for each token, eagerly, on the 0.8 M model; and how fast
memory is read. One JSON line."""

import json
import math
import sys
import time

import torch
import torch.nn.functional as F


def hugging_face(dtype: str, tokens: int) -> dict:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1337)
    model = GPT2LMHeadModel(GPT2Config()).eval().to(getattr(torch, dtype))
    ids = torch.tensor([[15496, 11, 616, 1438, 318]])
    options = dict(do_sample=False, pad_token_id=50256, eos_token_id=None, attention_mask=torch.ones_like(ids))
    model.generate(ids, max_new_tokens=8, min_new_tokens=8, **options)
    began = time.perf_counter()
    model.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, **options)
    return {"tokens": tokens, "tokensPerSecond": tokens / (time.perf_counter() - began)}


class Block(torch.nn.Module):
    def __init__(self, C: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln_1 = torch.nn.LayerNorm(C, bias=False)
        self.ln_2 = torch.nn.LayerNorm(C, bias=False)
        self.c_attn = torch.nn.Linear(C, 3 * C, bias=False)
        self.attn_proj = torch.nn.Linear(C, C, bias=False)
        self.c_fc = torch.nn.Linear(C, 4 * C, bias=False)
        self.mlp_proj = torch.nn.Linear(4 * C, C, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x))))


class GPT(torch.nn.Module):
    def __init__(self, layers=4, heads=4, C=128, block=64, vocabulary=65):
        super().__init__()
        self.block = block
        self.wte = torch.nn.Embedding(vocabulary, C)
        self.wpe = torch.nn.Embedding(block, C)
        self.h = torch.nn.ModuleList(Block(C, heads) for _ in range(layers))
        self.ln_f = torch.nn.LayerNorm(C, bias=False)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x)[:, [-1]], self.wte.weight)


@torch.no_grad()
def without_cache(tokens: int) -> dict:
    torch.manual_seed(1337)
    model = GPT().eval()

    def generate(count: int) -> None:
        ids = torch.zeros((1, 1), dtype=torch.long)
        for _ in range(count):
            logits = model(ids[:, -model.block :])[:, -1] / 0.8
            least = torch.topk(logits, min(200, logits.shape[-1])).values[:, [-1]]
            logits[logits < least] = -math.inf
            ids = torch.cat((ids, torch.multinomial(F.softmax(logits, dim=-1), 1)), 1)

    generate(50)
    began = time.perf_counter()
    generate(tokens)
    return {"tokens": tokens, "tokensPerSecond": tokens / (time.perf_counter() - began)}


def bandwidth(times: int) -> dict:
    values = torch.ones(128 * 2**20)
    best = 1e9
    for _ in range(times):
        began = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - began)
    return {"gigabytesPerSecond": values.numel() * 4 / best / 1e9}


def main() -> None:
    torch.set_num_threads(int(sys.argv[3]))
    what, tokens = sys.argv[1], int(sys.argv[2])
    if what == "bandwidth":
        return print(json.dumps(bandwidth(tokens)))
    result = without_cache(tokens) if what == "small" else hugging_face(what, tokens)
    import transformers

    print(json.dumps({**result, "torch": torch.__version__, "transformers": transformers.__version__}))


main()
