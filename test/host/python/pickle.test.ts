import fs from "node:fs";
import { describe, expect, test } from "vitest";
import { readPickle } from "../../../lib/host/python/pickle.js";

// Written by Python; test/golden/make-gpt2.py has the values.
const golden: { protocols: string[]; hostile: Record<string, string[]> } = JSON.parse(
  fs.readFileSync(new URL("../../golden/gpt2/pickles.json", import.meta.url), "utf8"),
);
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
/** A pickle by its operations: text and bytes, one after another. */
const pickle = (...parts: (string | number[])[]) =>
  new Uint8Array(
    Buffer.concat(parts.map((part) => Buffer.from(typeof part === "string" ? Buffer.from(part, "latin1") : part))),
  );

describe("readPickle()", () => {
  for (const [protocol, base64] of golden.protocols.entries()) {
    test(`reads what Python writes in protocol ${protocol}`, () => {
      const value = readPickle(bytesOf(base64)) as Map<string, unknown>;
      const shared = value.get("shared") as unknown[];
      expect(shared[0]).toBe(shared[1]);
      expect(Object.fromEntries(value)).toEqual({
        vocab_size: 3,
        itos: new Map([
          [0, "\n"],
          [1, "é"],
          [2, "🙂\\"],
        ]),
        stoi: new Map([
          ["\n", 0],
          ["é", 1],
          ["🙂\\", 2],
          ["__proto__", 3],
        ]),
        // biome-ignore format: one line
        integers: [0, 1, -1, 255, 256, 65535, 65536, 2 ** 31, -(2 ** 31), 2 ** 40, 2 ** 53 - 1, -(2n ** 63n), 2n ** 100n],
        floats: [1.5, -0, Number.POSITIVE_INFINITY, 1e-300],
        plain: [null, true, false, [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]],
        bytes: [Uint8Array.of(), Uint8Array.of(0, 255)],
        sets: [new Set([7]), new Set([8]), new Set()],
        ordered: new Map([
          ["b", 1],
          ["a", 2],
        ]),
        long: ["x".repeat(300), Array.from({ length: 1001 }, (_, i) => i)],
        shared: [[1], [1]],
      });
    });
  }

  test("reads the text of Python 2", () => {
    expect(readPickle(pickle("(S'a\\n\\x41'\nU", [2], "hiF1.5\nt."))).toEqual(["a\nA", "hi", 1.5]);
  });

  test("returns the objects for which the caller knows names and ids", () => {
    const built: unknown[] = [];
    const globals = {
      "m.f": {
        call: (args: readonly unknown[]) => ({ args }),
        build: (_made: unknown, state: unknown) => built.push(state),
      },
      "m.T": {},
    };
    const options = { globals, persistent: (id: unknown) => ({ id }) };
    expect(readPickle(pickle("cm\nf\n(cm\nT\nK", [7], "tRK", [9], "b."), options)).toEqual({
      args: [{ global: "m.T" }, 7],
    });
    expect(built).toEqual([9]);
    expect(readPickle(pickle("K", [5], "Q."), options)).toEqual({ id: 5 });
    expect(() => readPickle(pickle("cm\nT\n)R."), options)).toThrow("it wants to call m.T;");
  });
});

describe("readPickle() refuses, and calls nothing:", () => {
  for (const [name, protocols] of Object.entries(golden.hostile)) {
    test(`a call of ${name}, in every protocol`, () => {
      const wanted = name.replace("os.", "posix.");
      for (const base64 of protocols) {
        expect(() => readPickle(bytesOf(base64), { name: "x.pkl" })).toThrow(
          `Cannot read x.pkl: it wants to call ${wanted};`,
        );
      }
      expect(fs.existsSync("pwned")).toBe(false);
    });
  }

  const system = "cos\nsystem\n";
  const cases: Record<string, [bytes: Uint8Array, message: string]> = {
    "a name that is never called": [pickle(`${system}.`), "it wants to call os.system"],
    "a name after a long list": [pickle("(", "K\x01".repeat(100_000), "l", `${system}(S'ls'\ntR.`), "os.system"],
    "a name from the stack": [pickle("\x8c\x02os\x8c\x06system\x93."), "it wants to call os.system"],
    "a name of JavaScript's objects": [pickle("cconstructor\nconstructor\n."), "constructor.constructor"],
    "a name that is no name": [pickle("cos\nsys\x1b[2Jtem\n."), "call os.sys??2Jtem"],
    "a call of what is no function": [pickle("K\x01)R."), "call a value that is not a function"],
    "a call of a dictionary like a name": [pickle("}S'global'\nS'm.f'\ns)R."), "call a value that is not a function"],
    "an object of Python 2": [pickle("(ios\nsystem\n."), "make a os.system"],
    "an object by its class": [pickle("(K\x01o."), "make an object"],
    attributes: [pickle("}}b."), "set attributes of an object"],
    "an extension": [pickle("\x82\x01."), "use an extension"],
    "an id from outside": [pickle("K\x01Q."), "refers to an object outside"],
    "items of a list": [pickle("]K\x01K\x02s."), "set items of what is not a dictionary"],
    "appending to a dictionary": [pickle("}K\x01a."), "append to what is not a list"],
    nothing: [pickle(""), "it is cut short"],
    text: [pickle("hello"), "recalls value 101"],
    "no operation": [pickle("\xff"), "is 255, which is not a pickle operation"],
    "a later protocol": [pickle("\x80\x06N."), "its protocol is 6"],
    "an end without a value": [pickle("."), "takes a value"],
    "an end within a container": [pickle("(."), "takes a value"],
    "a container that was not opened": [pickle("t."), "did not open"],
    "a length beyond the end": [pickle("X\xff\xff\xff\xffa."), "it is cut short"],
    "a length beyond what numbers count": [pickle("\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."), "it is cut short"],
    "an integer of a megabyte": [
      pickle("\x8b\x00\x00\x10\x00", "\x01".repeat(1 << 20), "."),
      "an integer of 1048576 bytes",
    ],
    "containers that never end": [pickle("(".repeat(100_000)), "nested more than 1000 deep"],
    "half a character": [pickle("X\x01\x00\x00\x00\xc3."), "is not UTF-8"],
    "a number that is none": [pickle("Fone\n."), "not a number"],
    "a set from no list": [pickle("c__builtin__\nset\n(K\x01tR."), "builtins.set cannot be called"],
  };
  for (const [name, [bytes, message]] of Object.entries(cases)) {
    test(name, () => expect(() => readPickle(bytes)).toThrow(message));
  }

  test("a pickle truncated at any byte", () => {
    for (const base64 of golden.protocols) {
      const whole = bytesOf(base64);
      for (let length = 0; length < 600; length++)
        expect(() => readPickle(whole.subarray(0, length))).toThrow("Cannot read");
    }
  });
});
