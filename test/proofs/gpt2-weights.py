"""What test/proofs/gpt2-weights.ts and ckpt-pt.ts ask of Python. Never part of Folio's set-up.

    pip install torch numpy safetensors transformers
    python gpt2-weights.py hf FOLDER          a GPT-2 of 124M random weights, as transformers saves one
    python gpt2-weights.py ckpt FILE.pt       a checkpoint of nanoGPT's train_shakespeare_char, with AdamW's moments, and
                                              how it goes on; standard input: {"batches": [{"x": …, "y": …}, …]}
    python gpt2-weights.py check FOLDER       loads a folder with transformers; standard input: {"ids": …, "texts": …}

Each prints one line of JSON; logits go to logits.bin beside what was made, or in the folder.
"""

import importlib.util
import json
import pathlib
import sys

import numpy
import torch
import transformers

HERE = pathlib.Path(__file__).parent


def random_ids(vocabulary, batch, length):
    return torch.randint(vocabulary, (batch, length), generator=torch.Generator().manual_seed(7))


def logits_of(model, ids, file):
    with torch.no_grad():
        logits = model(ids)
    logits = getattr(logits, "logits", logits)
    numpy.asarray(logits.float(), dtype="<f4").tofile(file)


def greedy(model, ids, count):
    with torch.no_grad():
        for _ in range(count):
            logits = model(ids)
            ids = torch.cat([ids, getattr(logits, "logits", logits)[:, -1:].argmax(-1)], 1)
    return ids[0].tolist()


def hf(folder):
    torch.manual_seed(1)
    config = transformers.GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # gains off one and biases off zero
                parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    ids = random_ids(50257, 1, 64)
    logits_of(model, ids, pathlib.Path(folder) / "logits.bin")
    return {
        "ids": ids.tolist(),
        "greedy": greedy(model, ids[:, :16], 24),
        "parameters": model.num_parameters(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def ckpt(file):
    spec = importlib.util.spec_from_file_location("golden", HERE.parent / "golden" / "make-gpt2.py")
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)
    args = dict(n_layer=6, n_head=6, n_embd=384, block_size=256, bias=False, vocab_size=65, dropout=0.2)
    torch.manual_seed(2)
    model = golden.Model(**args)
    optimizer = golden.optimizer_of(model)
    golden.steps(model, optimizer, [(torch.randint(65, (2, 64)), torch.randint(65, (2, 64))) for _ in range(2)])
    path = pathlib.Path(file)
    ids = random_ids(65, 2, 64)
    logits_of(model, ids, path.parent / "logits.bin")
    out = {"ids": ids.tolist(), "greedy": greedy(model, ids[:1, :16], 24), "torch": torch.__version__}
    checkpoint = {
        "model": {f"_orig_mod.{key}": value for key, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": args,
        "iter_num": 2,
        "best_val_loss": torch.tensor(4.0),
        "config": dict(dataset="shakespeare_char", **golden.SETTINGS),
    }
    torch.save(checkpoint, path)
    batches = [(torch.tensor(batch["x"]), torch.tensor(batch["y"])) for batch in json.load(sys.stdin)["batches"]]
    out["next"] = golden.steps(model, optimizer, batches)
    return out


def check(folder):
    asked = json.load(sys.stdin)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    logits_of(model, torch.tensor(asked["ids"]), pathlib.Path(folder) / "logits.bin")
    texts = asked.get("texts", [])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder) if texts else None
    encoded = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return {
        "parameters": model.num_parameters(),
        "encoded": encoded,
        "decoded": [tokenizer.decode(ids) for ids in encoded],
        "end": getattr(tokenizer, "eos_token_id", None),
    }


print(json.dumps({"hf": hf, "ckpt": ckpt, "check": check}[sys.argv[1]](sys.argv[2])))
