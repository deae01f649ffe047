/** The tokenizer of a Hugging Face folder: read from its files, compared by content, and exported. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { tokenizerFiles } from "../../../lib/data/tokenizers/hugging-face.js";
import { readFolderTokenizer } from "../../../lib/data/tokenizers/read-hugging-face.js";
import {
  bpeTokenizer,
  gpt2Tokenizer,
  idTokenizer,
  sameTokenizer,
  type TokenizerSpec,
  tokenizerFromSpec,
} from "../../../lib/data/tokenizers/tokenizer.js";
import { openTextStream } from "../../../lib/sample/text-stream.js";
import { temporaryFolder } from "../../tiny-run.js";

// Trained and saved by Python's tokenizers and transformers: test/golden/make-tokenizers.py.
const golden = fileURLToPath(new URL("../../golden/tokenizers/", import.meta.url));
interface Golden {
  size: number;
  texts: { text: string; ids: number[]; decoded: string }[];
}
const index = JSON.parse(fs.readFileSync(path.join(golden, "index.json"), "utf8")) as Record<string, Golden>;
const folder = temporaryFolder();
let folders = 0;

function write(files: Readonly<Record<string, string | object>>): string {
  const at = path.join(folder, String(folders++));
  fs.mkdirSync(at);
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(path.join(at, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return at;
}
const json = (name: string) => JSON.parse(fs.readFileSync(path.join(golden, name), "utf8"));
const gpt2Files = tokenizerFiles({ kind: "gpt2" }).files;

describe("a folder's own tokenizer", () => {
  for (const [name, { size, texts }] of Object.entries(index)) {
    test(`${name}: encodes and decodes as Python's tokenizers does`, () => {
      const { spec } = readFolderTokenizer(path.join(golden, name));
      expect(spec?.kind).toBe("huggingface");
      const tokenizer = tokenizerFromSpec(JSON.parse(JSON.stringify(spec)));
      expect(tokenizer.vocabSize).toBe(size);
      for (const { text, ids, decoded } of texts) {
        // In Python, the name of a special token is always encoded as this token.
        expect([...tokenizer.encode(text, { special: true })], text).toEqual(ids);
        expect(tokenizer.decode(ids), text).toBe(decoded);
      }
    });

    test(`${name}: decoding a sample token by token gives the same text as decoding all tokens`, () => {
      const tokenizer = tokenizerFromSpec(readFolderTokenizer(path.join(golden, name)).spec);
      for (const { ids } of texts) {
        // A prompt ends with a whole character.
        const first = ids.findIndex((_, at) => at > 1 && !tokenizer.decode(ids.slice(0, at)).endsWith("\ufffd"));
        const stream = openTextStream(tokenizer, [], ids.slice(0, first));
        const text = ids.slice(first).map((id) => stream.add(id).text);
        expect(tokenizer.decode(ids.slice(0, first)) + text.join("") + stream.rest()).toBe(tokenizer.decode(ids));
      }
    });

    test(`${name}: its exported files are read as the same tokenizer`, () => {
      const { spec } = readFolderTokenizer(path.join(golden, name));
      const again = readFolderTokenizer(write(tokenizerFiles(spec).files)).spec;
      expect(sameTokenizer(spec!, again!)).toBe(true);
    });
  }

  test("vocab.json and merges.txt alone are the same tokenizer as tokenizer.json", () => {
    const tables = readFolderTokenizer(path.join(golden, "byte-level", "tables")).spec!;
    const whole = tokenizerFromSpec(readFolderTokenizer(path.join(golden, "byte-level")).spec);
    const tokenizer = tokenizerFromSpec(tables);
    for (const { text } of index["byte-level"]!.texts) expect(tokenizer.encode(text)).toEqual(whole.encode(text));
  });

  test("the name of a special token is text in a text, and one id in a prompt", () => {
    const tokenizer = tokenizerFromSpec(readFolderTokenizer(path.join(golden, "byte-level")).spec);
    expect(tokenizer.endOfText).toBe(0);
    expect([...tokenizer.encode("<|endoftext|>", { special: true })]).toEqual([0]);
    expect(tokenizer.encode("<|endoftext|>").length).toBeGreaterThan(3);
    expect(tokenizer.decode(tokenizer.encode("<|endoftext|>"))).toBe("<|endoftext|>");
    expect([...gpt2Tokenizer().encode("a<|endoftext|><|endoftext|>", { special: true })]).toEqual([64, 50256, 50256]);
    expect([...gpt2Tokenizer().encode("<|endoftext|>")]).not.toContain(50256);
  });
});

describe("a tokenizer is compared by content", () => {
  test("GPT-2's files are GPT-2's, in both spellings of merges, and in the older files alone", () => {
    const files = gpt2Files;
    expect(readFolderTokenizer(write({ "tokenizer.json": files["tokenizer.json"]! })).spec).toEqual({ kind: "gpt2" });
    const spelled = structuredClone(files["tokenizer.json"]) as { model: { merges: unknown[] } };
    spelled.model.merges = (spelled.model.merges as string[][]).map((pair) => pair.join(" "));
    expect(readFolderTokenizer(write({ "tokenizer.json": spelled })).spec).toEqual({ kind: "gpt2" });
    const older = { "vocab.json": files["vocab.json"]!, "merges.txt": files["merges.txt"]! };
    expect(readFolderTokenizer(write(older)).spec).toEqual({ kind: "gpt2" });
  });

  test("50,257 ids in another order are not GPT-2's", () => {
    const other = structuredClone(gpt2Files["tokenizer.json"]) as { model: { vocab: Record<string, number> } };
    const { vocab } = other.model;
    const [the, of] = ["Ġthe", "Ġof"] as const;
    [vocab[the], vocab[of]] = [vocab[of]!, vocab[the]!];
    const spec = readFolderTokenizer(write({ "tokenizer.json": other })).spec!;
    expect(spec.kind).toBe("huggingface");
    expect(sameTokenizer(spec, { kind: "gpt2" })).toBe(false);
    const tokenizer = tokenizerFromSpec(spec);
    const text = "the end of the text, it's café";
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    const swapped: Record<number, number> = { 262: 286, 286: 262 };
    expect([...tokenizer.encode(text)]).toEqual([...gpt2Tokenizer().encode(text)].map((id) => swapped[id] ?? id));
  });

  test.each(["char", "bpe"])("our own export, saved again by transformers, keeps its tokenizer: %s", (kind) => {
    const exported = path.join(golden, `exported-${kind}`);
    const spec = json(`exported-${kind}/spec.json`) as TokenizerSpec;
    // The files that transformers saved again are those exported today.
    for (const [name, content] of Object.entries(tokenizerFiles(spec).files)) {
      const there = fs.readFileSync(path.join(exported, name), "utf8");
      if (typeof content === "string") expect(there).toBe(content);
      else expect(JSON.parse(there)).toEqual(content);
    }
    expect(readFolderTokenizer(path.join(golden, `resaved-${kind}`)).spec).toEqual(spec);
  });

  test("text added around the input does not make another tokenizer", () => {
    const { spec } = readFolderTokenizer(path.join(golden, "unigram"));
    expect(sameTokenizer(spec!, { ...spec!, special: { eos_token: "</s>" } } as TokenizerSpec)).toBe(true);
    expect(sameTokenizer(bpeTokenizer([108, 111]).toJSON(), bpeTokenizer([108, 112]).toJSON())).toBe(false);
  });
});

describe("a folder whose tokenizer is not known", () => {
  test("has none, or the message names the unreadable file", () => {
    expect(readFolderTokenizer(write({ "config.json": {} }))).toEqual({});
    expect(readFolderTokenizer(write({ "spiece.model": "x" }))).toEqual({ unread: "spiece.model" });
    expect(readFolderTokenizer(write({ "vocab.json": {} }))).toEqual({ unread: "vocab.json" });
  });

  const wrong: Record<string, [files: Record<string, string | object>, message: string]> = {
    "no JSON": [{ "tokenizer.json": "{" }, "tokenizer.json: it is not JSON; save the tokenizer again."],
    "another form": [{ "tokenizer.json": { model: { type: "BPE", vocab: [] } } }, "it is not a tokenizer.json (model"],
    "no tokens": [{ "tokenizer.json": { model: { type: "WordLevel", vocab: {} } } }, "it has no tokens"],
    "an id that is none": [
      { "tokenizer.json": { model: { type: "BPE", vocab: { a: -1 }, merges: [] } } },
      "it is not a tokenizer.json (model",
    ],
    "a step that nobody knows": [
      { "tokenizer.json": { normalizer: { type: "Rot13" }, model: { type: "BPE", vocab: { a: 0 }, merges: [] } } },
      "@huggingface/tokenizers cannot build it",
    ],
  };
  test.each(Object.entries(wrong))("is refused where its file is damaged: %s", (_, [files, message]) => {
    expect(() => readFolderTokenizer(write(files))).toThrow(message);
  });
});

test("ids without a tokenizer are written and read as numbers", () => {
  const tokenizer = tokenizerFromSpec({ kind: "none", vocabSize: 20 });
  expect([...tokenizer.encode("3 14, 15\n9")]).toEqual([3, 14, 15, 9]);
  expect(tokenizer.decode([3, 14])).toBe("3 14");
  expect(() => tokenizer.encode("3 20")).toThrow(
    "this model has no tokenizer; give ids from 0 to 19, separated by spaces",
  );
  expect(() => tokenizer.encode("to be")).toThrow('Cannot encode "to"');
  expect(() => idTokenizer(0)).toThrow("its vocabSize is 0; wanted 1 or more");
  const stream = openTextStream(tokenizer, [], [3]);
  expect([5, 6].map((id) => stream.add(id).text).join("")).toBe(" 5 6");
});
