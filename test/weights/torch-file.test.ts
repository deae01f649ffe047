import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { openTorchFile, type TorchTensor } from "../../lib/weights/torch-file.js";
import { temporaryFolder } from "../tiny-run.js";

// Written by PyTorch; test/golden/make-gpt2.py has the values.
const golden = fileURLToPath(new URL("../golden/gpt2/", import.meta.url));
const layouts = path.join(golden, "layouts.pt");
const wanted: Record<string, { shape: number[]; values: number[] }> = JSON.parse(
  fs.readFileSync(path.join(golden, "layouts.json"), "utf8"),
);
const folder = temporaryFolder();

const openFiles = () => (process.platform === "linux" ? fs.readdirSync("/proc/self/fd").length : 0);

/** Opens, reads every tensor, closes. */
function readAll(file: string): void {
  const torch = openTorchFile(file);
  try {
    for (const tensor of (torch.value as Map<string, TorchTensor>).values()) torch.read(tensor);
  } finally {
    torch.close();
  }
}

/** A stored zip archive of these entries. */
function zip(entries: Record<string, Uint8Array | string>, { method = 0, wide = false } = {}): string {
  const parts: Buffer[] = [];
  const table: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(entries)) {
    const [nameBytes, data] = [Buffer.from(name), Buffer.from(content as Uint8Array)];
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(nameBytes.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(nameBytes.length, 28);
    central.writeUInt32LE(offset, 42);
    const extra = Buffer.alloc(wide ? 28 : 0);
    if (wide) {
      // As in an archive beyond 4 GiB, the numbers are in the extra field.
      for (const field of [20, 24, 42]) central.writeUInt32LE(0xffffffff, field);
      extra.writeUInt16LE(1);
      extra.writeUInt16LE(24, 2);
      for (const [i, value] of [data.length, data.length, offset].entries())
        extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
      central.writeUInt16LE(extra.length, 30);
    }
    table.push(central, nameBytes, extra);
    parts.push(local, nameBytes, data);
    offset += 30 + nameBytes.length + data.length;
  }
  const directory = Buffer.concat(table);
  const end = Buffer.alloc(wide ? 98 : 22);
  if (wide) {
    end.writeUInt32LE(0x06064b50);
    end.writeBigUInt64LE(BigInt(directory.length), 40);
    end.writeBigUInt64LE(BigInt(offset), 48);
    end.writeUInt32LE(0x07064b50, 56);
    end.writeBigUInt64LE(BigInt(offset + directory.length), 64);
  }
  end.writeUInt32LE(0x06054b50, end.length - 22);
  end.writeUInt32LE(wide ? 0xffffffff : directory.length, end.length - 10);
  end.writeUInt32LE(wide ? 0xffffffff : offset, end.length - 6);
  const file = path.join(folder, `${fs.readdirSync(folder).length}.pt`);
  fs.writeFileSync(file, Buffer.concat([...parts, directory, end]));
  return file;
}

/** A pickle of protocol 2 that rebuilds one tensor on storage "0". */
function tensorPickle({ offset = 0, shape = [2], strides = [1], length = 2, type = "FloatStorage" } = {}): string {
  const tuple = (values: readonly number[]) => `(${values.map((value) => `I${value}\n`).join("")}t`;
  const storage = `(S'storage'\nctorch\n${type}\nS'0'\nS'cpu'\nI${length}\ntQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${storage}I${offset}\n${tuple(shape)}${tuple(strides)}I00\nNtR.`;
}
const numbers = new Uint8Array(Float32Array.of(1, 2).buffer);

describe("openTorchFile()", () => {
  const file = openTorchFile(layouts);
  const tensors = file.value as Map<string, TorchTensor>;

  for (const [name, { shape, values }] of Object.entries(wanted)) {
    test(`reads a tensor that is ${name}`, () => {
      const found = file.read(tensors.get(name)!);
      expect(found.shape).toEqual(shape);
      expect([...found.values]).toEqual([...Float32Array.from(values)]);
    });
  }

  test("reads a matrix transposed", () => {
    for (const name of ["plain", "sliced", "transposed"]) {
      const [straight, turned] = [file.read(tensors.get(name)!), file.read(tensors.get(name)!, { transposed: true })];
      const [rows, columns] = straight.shape as [number, number];
      expect(turned.shape).toEqual([columns, rows]);
      for (let i = 0; i < rows * columns; i++) {
        expect(turned.values[(i % columns) * rows + Math.floor(i / columns)]).toBe(straight.values[i]);
      }
    }
  });

  test.each([
    ["HalfStorage", Uint16Array.of(0x3e00, 0xb400), [1.5, -0.25]],
    ["BFloat16Storage", Uint16Array.of(0x3fc0, 0xbe80), [1.5, -0.25]],
    ["DoubleStorage", Float64Array.of(1.5, -0.25), [1.5, -0.25]],
    ["LongStorage", BigInt64Array.of(3n, -4n), [3, -4]],
    ["IntStorage", Int32Array.of(3, -4), [3, -4]],
    ["ByteStorage", Uint8Array.of(3, 255), [3, 255]],
  ])("reads a %s", (type, data, values) => {
    const bytes = new Uint8Array(data.buffer);
    const opened = openTorchFile(zip({ "x/data.pkl": tensorPickle({ type }), "x/data/0": bytes }));
    expect([...opened.read(opened.value as TorchTensor).values]).toEqual(values);
    opened.close();
  });

  test("reads archives with numbers of 32 and of 64 bits", () => {
    for (const wide of [false, true]) {
      const opened = openTorchFile(zip({ "x/data.pkl": tensorPickle(), "x/data/0": numbers }, { wide }));
      expect([...opened.read(opened.value as TorchTensor).values]).toEqual([1, 2]);
      opened.close();
    }
  });
});

describe("openTorchFile() refuses", () => {
  const one = (options: Parameters<typeof tensorPickle>[0], data: Uint8Array = numbers) =>
    zip({ "x/data.pkl": `(S'w'\n${tensorPickle(options).slice(0, -1)}d.`, "x/data/0": data });
  const cases: Record<string, [file: string, message: string]> = {
    "a file that is not there": [path.join(folder, "none.pt"), "it is missing"],
    "a folder": [folder, "it is a folder, not a file"],
    "a file of another kind": [path.join(golden, "index.json"), "it is not a zip archive"],
    "an archive without a pickle": [zip({ "x/other": "N." }), "it has no data.pkl"],
    "a compressed archive": [zip({ "x/data.pkl": "N." }, { method: 8 }), "compressed or encrypted"],
    "a pickle that calls": [zip({ "x/data.pkl": "cos\nsystem\n(S'ls'\ntR." }), "it wants to call os.system"],
    "torch's own code": [zip({ "x/data.pkl": "ctorch.hub\nload\n(S'x'\ntR." }), "it wants to call torch.hub.load"],
    "big-endian numbers": [zip({ "x/data.pkl": "N.", "x/byteorder": "big" }), "big-endian"],
    "an id that is no storage": [zip({ "x/data.pkl": "(S'module'\nS'x'\ntQ." }), "not a tensor's values"],
    "a tensor beyond its values": [one({ shape: [3] }), "reaches beyond its 2 values"],
    "an offset beyond its values": [one({ offset: 1 }), "reaches beyond its 2 values"],
    "a small file that claims a huge tensor": [one({ shape: [2 ** 40], strides: [0] }), "reaches beyond its 2 values"],
    "axes of more values than numbers count": [
      one({ shape: Array(40).fill(2 ** 50), strides: Array(40).fill(0) }),
      "reaches beyond",
    ],
    "strides below 0": [one({ strides: [-1] }), "cannot be called"],
    "more strides than axes": [one({ strides: [1, 1] }), "cannot be called"],
    "a storage that is cut short": [one({ shape: [4], length: 4 }), "its data/0 is missing or has fewer than 16 bytes"],
    "a tensor without a storage": [
      zip({ "x/data.pkl": "(S'w'\nctorch._utils\n_rebuild_tensor_v2\n(NI0\n(I1\nt(I1\ntI00\nNtRd." }),
      "cannot be called",
    ],
    "a storage of a type that is not read": [
      one({ type: "ComplexFloatStorage" }),
      "it wants to call torch.ComplexFloatStorage",
    ],
  };
  for (const [name, [file, message]] of Object.entries(cases)) {
    test(name, () => expect(() => readAll(file)).toThrow(message));
  }

  test("a file truncated at any place, and closes it", () => {
    const bytes = fs.readFileSync(layouts);
    const cut = path.join(folder, "cut");
    const before = openFiles();
    for (let length = 0; length < bytes.length; length += 13) {
      fs.writeFileSync(cut, bytes.subarray(0, length));
      expect(() => readAll(cut), `${length} bytes`).toThrow("Cannot read");
    }
    expect(openFiles()).toBe(before);
  });

  test("or reads a file with any changed byte in its table, and neither hangs nor crashes", () => {
    const bytes = fs.readFileSync(layouts);
    const table = bytes.readUInt32LE(bytes.length - 6);
    const file = path.join(folder, "changed");
    for (let at = table; at < bytes.length; at += 3) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 0xff;
      fs.writeFileSync(file, changed);
      try {
        readAll(file);
      } catch (error) {
        expect((error as Error).message).toMatch(/^Cannot read /);
      }
    }
  });
});
