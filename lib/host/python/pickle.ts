/**
 * Reads Python pickles (protocols 0 to 5) as data. A pickle is a program that may call anything Python can import; this
 * reader runs only the instructions that build None, booleans, numbers, strings, bytes, lists, tuples, dictionaries and
 * sets, and calls only the functions that its caller gives by name. Any other name is refused before it is used.
 * Tensors are read by lib/weights/torch-file.ts. Notebook 05-gpt2 shows a refused pickle.
 */

/** Stands in for a Python function or class that a pickle may name. */
export interface PickleGlobal {
  /** Makes a value when the pickle calls it; without this, the pickle may contain the name but not call it. */
  call?(args: readonly unknown[]): unknown;
  /** Receives the attributes that the pickle sets on a value made by `call`; without it, they are refused. */
  build?(made: unknown, attributes: unknown): void;
}

export interface PickleOptions {
  /** The file's name, for messages. */
  readonly name?: string;
  /** By Python's full name: `"torch._utils._rebuild_tensor_v2"`. */
  readonly globals?: Readonly<Record<string, PickleGlobal>>;
  /** Gives the object that a persistent id stands for; without it such ids are refused. */
  readonly persistent?: (id: unknown) => unknown;
}

/** A name of `globals` used as a value. */
export interface NamedGlobal {
  readonly global: string;
}

// Limits against malicious files. Pickles that Python writes stay far below: it writes the items of lists and
// dictionaries in batches of a thousand.
const MAX_STACK = 5_000_000;
const MAX_MARKS = 1_000;
const MAX_INTEGER_BYTES = 256;

/**
 * The value in a pickle. Dictionaries become Maps, tuples and lists arrays, sets Sets, bytes Uint8Arrays, and integers
 * beyond 2⁵³ bigints. Values may be shared and may contain themselves, as in Python.
 * @throws {Error} if the pickle names a function or class that `globals` lacks, is cut short, or is not a pickle
 * @example
 * readPickle(Uint8Array.from([0x80, 2, 0x4b, 42, 0x2e])); // 42
 */
export function readPickle(bytes: Uint8Array, options: PickleOptions = {}): unknown {
  const machine = new Machine(bytes, options);
  for (;;) {
    const code = machine.bytes(1)[0]!;
    if (code === STOP) return machine.last();
    const operation = operations.get(code);
    if (!operation) return machine.fail(`byte ${machine.at - 1} is ${code}, which is not a pickle operation`);
    operation(machine);
  }
}

const builtIn: Readonly<Record<string, PickleGlobal>> = {
  "collections.OrderedDict": { call: ([items]) => mapOf(items ?? []), build: () => {} },
  "builtins.set": { call: ([items]) => new Set(listOf(items ?? [])) },
  "builtins.frozenset": { call: ([items]) => new Set(listOf(items ?? [])) },
  // Bytes, as protocols 0 to 2 spell them.
  "_codecs.encode": {
    call: ([text, encoding]) => {
      if (typeof text !== "string" || encoding !== "latin1") throw new TypeError("wrong arguments");
      return Uint8Array.from(Buffer.from(text, "latin1"));
    },
  },
  "builtins.bytes": { call: () => new Uint8Array() },
};

function listOf(items: unknown): unknown[] {
  if (!Array.isArray(items)) throw new TypeError("wrong arguments");
  return items;
}

function mapOf(items: unknown): Map<unknown, unknown> {
  return new Map(listOf(items).map((pair) => listOf(pair) as [unknown, unknown]));
}

/** A MARK on the stack. */
const mark = Symbol("mark");
const STOP = 0x2e;

/** The state of one call of readPickle. */
class Machine {
  at = 0;
  readonly stack: unknown[] = [];
  readonly memo = new Map<number, unknown>();
  #marks = 0;
  readonly #input: Uint8Array;
  readonly #view: DataView;
  readonly #options: PickleOptions;

  constructor(input: Uint8Array, options: PickleOptions) {
    this.#input = input;
    this.#view = new DataView(input.buffer, input.byteOffset, input.byteLength);
    this.#options = options;
  }

  fail(found: string): never {
    throw new Error(`Cannot read ${this.#options.name ?? "the pickle"}: ${found}.`);
  }

  refuse(what: string): never {
    this.fail(
      `it wants to ${what}; Folio reads numbers, text, lists and dictionaries, and calls no function named in a file`,
    );
  }

  /** The next `count` bytes. */
  bytes(count: number): Uint8Array {
    const end = this.at + count;
    if (!(end <= this.#input.length)) this.fail(`it is cut short: it has ${this.#input.length} bytes; wanted ${end}`);
    const part = this.#input.subarray(this.at, end);
    this.at = end;
    return part;
  }

  /** The next number, little-endian. */
  number(read: "getUint8" | "getUint16" | "getInt32" | "getUint32" | "getBigUint64"): number {
    const from = this.at;
    this.bytes({ getUint8: 1, getUint16: 2, getInt32: 4, getUint32: 4, getBigUint64: 8 }[read]);
    return Number(this.#view[read](from, true));
  }

  double(): number {
    const from = this.at;
    this.bytes(8);
    return this.#view.getFloat64(from); // the one big-endian number of the format
  }

  line(): string {
    const end = this.#input.indexOf(0x0a, this.at);
    if (end < 0) this.fail("it is cut short: a line has no end");
    const text = Buffer.from(this.bytes(end - this.at)).toString("latin1");
    this.at++;
    return text;
  }

  text(count: number): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.bytes(count));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return this.fail(`the text that ends at byte ${this.at} is not UTF-8`);
    }
  }

  push(value: unknown): void {
    if (this.stack.length >= MAX_STACK) this.fail(`its stack exceeds ${MAX_STACK} values`);
    if (value === mark && ++this.#marks > MAX_MARKS) this.fail(`its containers are nested more than ${MAX_MARKS} deep`);
    this.stack.push(value);
  }

  pop(): unknown {
    if (this.stack.length === 0) this.fail(`it takes a value at byte ${this.at} where there is none`);
    const value = this.stack.pop();
    if (value === mark) this.fail(`it takes a value at byte ${this.at} where there is none`);
    return value;
  }

  last(): unknown {
    const value = this.pop();
    this.stack.push(value);
    return value;
  }

  /** Removes the values down to the last mark, and the mark, and returns the values. */
  items(): unknown[] {
    const from = this.stack.lastIndexOf(mark);
    if (from < 0) this.fail(`it closes a container at byte ${this.at} that it did not open`);
    this.#marks--;
    return this.stack.splice(from).slice(1);
  }

  pops(count: number): unknown[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  put(index: number): void {
    this.memo.set(index, this.last());
  }

  get(index: number): void {
    if (!this.memo.has(index)) this.fail(`it recalls value ${index}, which it did not store`);
    this.push(this.memo.get(index));
  }

  /** Pushes a Python name, or refuses it if it is not allowed. */
  global(module: unknown, name: unknown): void {
    if (typeof module !== "string" || typeof name !== "string")
      this.fail("it names a function by something other than text");
    const global = `${module === "__builtin__" ? "builtins" : module}.${name}`;
    if (!this.#handler(global)) this.refuse(`call ${printable(global)}`);
    this.push({ global } satisfies NamedGlobal);
  }

  #handler(global: string): PickleGlobal | undefined {
    const { globals = {} } = this.#options;
    if (Object.hasOwn(globals, global)) return globals[global];
    return Object.hasOwn(builtIn, global) ? builtIn[global] : undefined;
  }

  readonly #made = new Map<unknown, string>();

  call(callee: unknown, args: unknown): void {
    const { global } = (callee ?? {}) as Partial<NamedGlobal>;
    const handler = typeof global === "string" ? this.#handler(global) : undefined;
    if (!global || !handler?.call || !Array.isArray(args)) {
      this.refuse(`call ${global === undefined ? "a value that is not a function" : printable(global)}`);
    }
    let made: unknown;
    try {
      made = handler.call(args);
    } catch (error) {
      this.fail(`${printable(global)} cannot be called with these arguments: ${(error as Error).message}`);
    }
    if (typeof made === "object" && made !== null && handler.build) this.#made.set(made, global);
    this.push(made);
  }

  build(attributes: unknown): void {
    const value = this.last();
    const global = this.#made.get(value);
    if (global === undefined) this.refuse("set attributes of an object");
    this.#handler(global)!.build!(value, attributes);
  }

  persistent(id: unknown): void {
    const { persistent } = this.#options;
    if (!persistent) this.fail("it refers to an object outside the file");
    this.push(persistent(id));
  }
}

/** A name from the file, safe to print: without control characters, shortened. */
function printable(name: string): string {
  const clean = name.replace(/[^\w.<>-]/g, "?");
  return clean.length > 80 ? `${clean.slice(0, 77)}...` : clean;
}

/** Two's complement, little-endian, of any length. */
function long(machine: Machine, count: number): number | bigint {
  if (count > MAX_INTEGER_BYTES) machine.fail(`it contains an integer of ${count} bytes`);
  const bytes = machine.bytes(count);
  const unsigned = bytes.reduceRight((total, byte) => (total << 8n) | BigInt(byte), 0n);
  return plain(BigInt.asIntN(8 * count, unsigned));
}

function plain(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function integerLine(machine: Machine): number | bigint | boolean {
  const line = machine.line();
  if (line === "00" || line === "01") return line === "01";
  if (line.length > MAX_INTEGER_BYTES || !/^[+-]?\d+L?$/.test(line))
    machine.fail("it contains a line that is not an integer");
  return plain(BigInt(line.replace(/^\+|L$/g, "")));
}

function floatLine(machine: Machine): number {
  const line = machine.line().toLowerCase();
  const value = { nan: Number.NaN, inf: Infinity, "-inf": -Infinity }[line] ?? Number(line);
  if (line.trim() === "" || (Number.isNaN(value) && line !== "nan"))
    machine.fail("it contains a line that is not a number");
  return value;
}

/** A quoted string of Python 2. */
function quotedLine(machine: Machine): string {
  const line = machine.line();
  const [, quote, body] = /^(['"])(.*)\1$/.exec(line) ?? [];
  if (!quote || body === undefined) return machine.fail("it contains a line that is not quoted text");
  const named: Record<string, string> = { n: "\n", r: "\r", t: "\t", "\\": "\\", "'": "'", '"': '"' };
  return body.replace(/\\(x[\da-f]{2}|.)/gi, (whole, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (named[code] ?? whole),
  );
}

/** Python's raw-unicode-escape. */
function unicodeLine(machine: Machine): string {
  return machine.line().replace(/\\(?:u([\da-fA-F]{4})|U([\da-fA-F]{8}))/g, (_, short?: string, wide?: string) => {
    const code = Number.parseInt(short ?? wide!, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : machine.fail("it contains a character beyond Unicode");
  });
}

function appendTo(machine: Machine, items: readonly unknown[]): void {
  const list = machine.last();
  if (!Array.isArray(list)) machine.refuse("append to what is not a list");
  for (const item of items) list.push(item);
}

function setIn(machine: Machine, items: readonly unknown[]): void {
  const map = machine.last();
  if (!(map instanceof Map)) machine.refuse("set items of what is not a dictionary");
  for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i], items[i + 1]);
}

function addTo(machine: Machine, items: readonly unknown[]): void {
  const set = machine.last();
  if (!(set instanceof Set)) machine.refuse("add to what is not a set");
  for (const item of items) set.add(item);
}

function dictionary(machine: Machine): Map<unknown, unknown> {
  machine.push(new Map());
  return machine.last() as Map<unknown, unknown>;
}

const copy = (bytes: Uint8Array) => Uint8Array.from(bytes);
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** The operations by their code; Python's pickletools describes each. */
// biome-ignore format: a table reads best as a table
const operations = new Map<number, (m: Machine) => void>(Object.entries<(m: Machine) => void>({
  N: (m) => m.push(null),
  "\x88": (m) => m.push(true),
  "\x89": (m) => m.push(false),
  I: (m) => m.push(integerLine(m)),
  L: (m) => m.push(integerLine(m)),
  J: (m) => m.push(m.number("getInt32")),
  K: (m) => m.push(m.number("getUint8")),
  M: (m) => m.push(m.number("getUint16")),
  "\x8a": (m) => m.push(long(m, m.number("getUint8"))),
  "\x8b": (m) => m.push(long(m, m.number("getUint32"))),
  F: (m) => m.push(floatLine(m)),
  G: (m) => m.push(m.double()),

  S: (m) => m.push(quotedLine(m)),
  T: (m) => m.push(latin1(m.bytes(m.number("getUint32")))),
  U: (m) => m.push(latin1(m.bytes(m.number("getUint8")))),
  V: (m) => m.push(unicodeLine(m)),
  X: (m) => m.push(m.text(m.number("getUint32"))),
  "\x8c": (m) => m.push(m.text(m.number("getUint8"))),
  "\x8d": (m) => m.push(m.text(m.number("getBigUint64"))),
  B: (m) => m.push(copy(m.bytes(m.number("getUint32")))),
  C: (m) => m.push(copy(m.bytes(m.number("getUint8")))),
  "\x8e": (m) => m.push(copy(m.bytes(m.number("getBigUint64")))),
  "\x96": (m) => m.push(copy(m.bytes(m.number("getBigUint64")))),

  "]": (m) => m.push([]),
  l: (m) => m.push(m.items()),
  a: (m) => appendTo(m, m.pops(1)),
  e: (m) => appendTo(m, m.items()),
  ")": (m) => m.push([]),
  t: (m) => m.push(m.items()),
  "\x85": (m) => m.push(m.pops(1)),
  "\x86": (m) => m.push(m.pops(2)),
  "\x87": (m) => m.push(m.pops(3)),
  "}": (m) => m.push(new Map()),
  d: (m) => { const items = m.items(); dictionary(m); setIn(m, items); },
  s: (m) => setIn(m, m.pops(2)),
  u: (m) => setIn(m, m.items()),
  "\x8f": (m) => m.push(new Set()),
  "\x90": (m) => addTo(m, m.items()),
  "\x91": (m) => m.push(new Set(m.items())),

  "(": (m) => m.push(mark),
  "0": (m) => { if (m.stack.at(-1) === mark) m.items(); else m.pop(); },
  "1": (m) => { m.items(); },
  "2": (m) => m.push(m.last()),
  p: (m) => m.put(Number(integerLine(m))),
  q: (m) => m.put(m.number("getUint8")),
  r: (m) => m.put(m.number("getUint32")),
  "\x94": (m) => m.put(m.memo.size),
  g: (m) => m.get(Number(integerLine(m))),
  h: (m) => m.get(m.number("getUint8")),
  j: (m) => m.get(m.number("getUint32")),
  "\x80": (m) => { const version = m.number("getUint8"); if (version > 5) m.fail(`its protocol is ${version}; protocols 0 to 5 are read`); },
  "\x95": (m) => { m.number("getBigUint64"); }, // how long a frame is, for readers of streams

  c: (m) => m.global(m.line(), m.line()),
  "\x93": (m) => { const [module, name] = m.pops(2); m.global(module, name); },
  R: (m) => { const [callee, args] = m.pops(2); m.call(callee, args); },
  "\x81": (m) => { const [callee, args] = m.pops(2); m.call(callee, args); },
  b: (m) => m.build(m.pop()),
  i: (m) => m.refuse(`make a ${printable(`${m.line()}.${m.line()}`)}`),
  o: (m) => m.refuse("make an object"),
  "\x92": (m) => m.refuse("make an object"),
  "\x82": (m) => m.refuse("use an extension"),
  "\x83": (m) => m.refuse("use an extension"),
  "\x84": (m) => m.refuse("use an extension"),
  P: (m) => m.persistent(m.line()),
  Q: (m) => m.persistent(m.pop()),
}).map(([code, operation]) => [code.charCodeAt(0), operation]));
