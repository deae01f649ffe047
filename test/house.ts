/**
 * Reads the imports of all files and checks them against rules: the order of folders ("rooms"), no cycles, the number
 * of files per folder, and which folder may import which package. test/house.test.ts has Folio's rules.
 */
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";

/** One import of a file or a package. `value` is false for type imports. */
interface Import {
  readonly to: string;
  readonly value: boolean;
}

/** The imports of files, by path from the root. */
export type House = ReadonlyMap<string, readonly Import[]>;

export interface Law {
  /** Floors of rooms, from the lowest. A file may import from its own room and from rooms on lower floors. */
  readonly floors: readonly (readonly string[])[];
  /** The largest number of files in a room, without its subfolders. */
  readonly roomSize: number;
  /** Forbidden imports: from files under a path, of files or packages with this prefix. */
  readonly never: readonly { readonly from: string; readonly to: string; readonly but?: readonly string[] }[];
  /**
   * Files and rooms that run in a browser: at run time, they may need only files and these packages, nothing of Node.
   */
  readonly browser: { readonly rooms: readonly string[]; readonly packages: readonly string[] };
}

/** The TypeScript files under some folders of a root. */
export function readHouse(root: string, folders: readonly string[]): House {
  const files = folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => path.posix.join(folder, file.replaceAll(path.sep, "/"))),
  );
  return new Map(files.sort().map((file) => [file, importsOf(file, fs.readFileSync(path.join(root, file), "utf8"))]));
}

function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (name: string, value: boolean) => {
    const to = name.startsWith(".") ? path.posix.join(path.posix.dirname(file), name).replace(/\.js$/, ".ts") : name;
    found.push({ to, value });
  };
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      const onlyTypes = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly : node.isTypeOnly;
      add((node.moduleSpecifier as ts.StringLiteral).text, !onlyTypes);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [name] = node.arguments;
      if (name && ts.isStringLiteral(name)) add(name.text, true);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add((node.argument.literal as ts.StringLiteral).text, false);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
  return found;
}

/** The violations of the rules, one sentence each. */
export function faults(house: House, law: Law): string[] {
  return [
    ...upward(house, law),
    ...circles(house),
    ...crowded(house, law),
    ...forbidden(house, law),
    ...bound(house, law),
  ];
}

/** Whether a file is in a room, or is the room itself. */
const isIn = (file: string, room: string) => file === room || file.startsWith(`${room}/`);

function upward(house: House, { floors }: Law): string[] {
  const rooms = floors.flatMap((names, floor) => names.map((name) => ({ name, floor })));
  // The innermost room.
  const roomOf = (file: string) =>
    rooms.filter(({ name }) => isIn(file, name)).sort((a, b) => b.name.length - a.name.length)[0];
  return [...house].flatMap(([file, imports]) => {
    const from = roomOf(file);
    if (!from) return [`${file} stands in no room of the law`];
    return imports.flatMap(({ to }) => {
      const there = house.has(to) ? roomOf(to) : undefined;
      if (!there || there.name === from.name || there.floor < from.floor) return [];
      return [`${file} imports ${to}: ${from.name} may not know ${there.name}`];
    });
  });
}

/** Each cycle once, as the path back to its start. */
function circles(house: House): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) {
      found.push(`a circle: ${[...way.slice(way.indexOf(file)), file].join(" → ")}`);
      return;
    }
    if (done.has(file)) return;
    for (const { to } of house.get(file) ?? []) if (house.has(to)) walk(to, [...way, file]);
    done.add(file);
  };
  for (const file of house.keys()) walk(file, []);
  return found;
}

function crowded(house: House, { roomSize }: Law): string[] {
  const counts = new Map<string, number>();
  for (const file of house.keys()) {
    const room = path.posix.dirname(file);
    counts.set(room, (counts.get(room) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count > roomSize)
    .map(([room, count]) => `${room} holds ${count} files; ${roomSize} are the most`);
}

function forbidden(house: House, { never }: Law): string[] {
  return [...house].flatMap(([file, imports]) =>
    never
      .filter(({ from, but = [] }) => isIn(file, from) && !but.some((room) => isIn(file, room)))
      .flatMap(({ to }) => imports.filter((one) => one.to.startsWith(to)))
      .map(({ to }) => `${file} may not import ${to}`),
  );
}

/** What prevents a file from running in a browser, with the import path to it. */
function bound(house: House, { browser: { rooms, packages } }: Law): string[] {
  const reached = (file: string, way: readonly string[], seen: Set<string>): string[] =>
    (house.get(file) ?? []).flatMap(({ to, value }) => {
      if (!value || packages.includes(to) || seen.has(to)) return [];
      seen.add(to);
      return house.has(to) ? reached(to, [...way, to], seen) : [`${[...way, to].join(" → ")}: not in a browser`];
    });
  const files = [...house.keys()].filter((file) => rooms.some((room) => isIn(file, room)));
  return files.flatMap((file) => reached(file, [file], new Set()));
}
