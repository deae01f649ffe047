"""Writes tiktoken.json: texts that are hard to split, and the ids that tiktoken's gpt2 encoding gives them.

    python test/golden/tiktoken_ids.py

tiktoken itself (Rust), with the ranks that js-tiktoken carries: nothing is downloaded. Made with tiktoken 0.14.0.
"""
import base64
import json
import pathlib
import re

import tiktoken

here = pathlib.Path(__file__).parent
module = (here / "../../node_modules/js-tiktoken/dist/ranks/gpt2.js").read_text(encoding="utf-8")
tokens = re.search(r'"bpe_ranks":\s*"([^"]*)"|bpe_ranks:\s*"([^"]*)"', module)
words = next(group for group in tokens.groups() if group).split(" ")
ranks = {base64.b64decode(word): int(words[1]) + rank for rank, word in enumerate(words[2:])}
encoding = tiktoken.Encoding(
    name="gpt2",
    pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    mergeable_ranks=ranks,
    special_tokens={"<|endoftext|>": 50256},
)

texts = [
    "hello world",
    "It's, we'll; they'VE 'd'd '' ' 's 'sss don''t \u2019s",
    "  two   spaces\n\n\n\tTabs \t\t and  ends  ",
    "a \n b\r\nc\r\n\r\nd\re",
    "<|endoftext|> <|endoftext|><|end oftext|>",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 flags \U0001f1eb\U0001f1ee \u2764\ufe0f",
    "\u4e2d\u6587\u5b57\u7b26\uff0c\u6ca1\u6709\u7a7a\u683c\u3002\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\ud55c\uad6d\uc5b4 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0939\u093f\u0928\u094d\u0926\u0940 \u0639\u0631\u0628\u064a \u0665\u0666 \u00bd\u00b2\u2167",
    "x\u0085y \u0085\u0085z \ufeffBOM\ufeff\ufeff \u00a0nb\u00a0\u00a0sp\u3000wide\u2028line\u200bzero",
    "e\u0301 cafe\u0301 \u00e9 \u0300\u0301",
    "12345678901234567890 3.14 1,000 0x1F a1b2",
    "a" * 200 + " " * 70 + "ab" * 100 + "=" * 90 + "\n" * 65 + "7" * 80,
    "\x00\x01\x1c\x1d\x1e\x1f\x7f control",
    "if (x) {\n        return y;  // \u201cquoted\u201d\n    }\n",
    "\ufffd\ufffd \uffff \U0010ffff",
]
cases = [{"text": text, "ids": encoding.encode_ordinary(text)} for text in texts]
(here / "tiktoken.json").write_text(json.dumps(cases, indent=None, separators=(",", ":")) + "\n", encoding="ascii")
