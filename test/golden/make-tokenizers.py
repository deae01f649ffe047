"""Makes what test/data/tokenizers/read-hugging-face.test.ts reads: tokenizers as Python's libraries train and save them.

    pip install tokenizers transformers
    python test/golden/make-tokenizers.py

Folders, all in test/golden/tokenizers/:
    byte-level, wordpiece, unigram, metaspace    tokenizer.json, trained on a little text; byte-level has GPT-2's older
                                                 files beside it, in tables/
    resaved-char, resaved-bpe                    Folio's own exports (exported-char, exported-bpe), loaded by AutoTokenizer
                                                 and saved again
    index.json                                   texts with the ids and the decoded text that Python gives
"""

import json
import pathlib
import shutil

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent / "tokenizers"
TEXT = [
    "The quick brown fox jumps over the lazy dog, and it's 1851 again.",
    "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse,",
    "and nothing particular to interest me on shore, I thought I would sail about a little",
    "and see the watery part of the world. The naïve café was 100 % full; they'll go on, we've gone.",
] * 4
SAMPLES = ["The watery fox", "it's  1851,\n they'll go", "naïve café", "a<|endoftext|>b", " leading and trailing "]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=140, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def metaspace():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def main():
    index = {}
    for name, make in dict(byte_level=byte_level, wordpiece=wordpiece, unigram=unigram, metaspace=metaspace).items():
        tokenizer, folder = make(), HERE / name.replace("_", "-")
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"))
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False)
        index[folder.name] = dict(
            size=tokenizer.get_vocab_size(),
            texts=[dict(text=text, ids=encode(text), decoded=decode(encode(text))) for text in SAMPLES],
        )
        if name == "byte_level":
            (folder / "tables").mkdir(exist_ok=True)
            tokenizer.model.save(str(folder / "tables"))
    for kind in ("char", "bpe"):
        target = HERE / f"resaved-{kind}"
        shutil.rmtree(target, ignore_errors=True)
        AutoTokenizer.from_pretrained(HERE / f"exported-{kind}").save_pretrained(target)
    (HERE / "index.json").write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n")


main()
