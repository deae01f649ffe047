/**
 * Mutation tests by hand: `node --import jiti/register test/mutation/run.ts NAME… [--survivors]`, where a name is that of
 * a room or of a source file. With --survivors, only what survived the last time is tested again.
 * `npm run proofs -- mutation` tests all rooms.
 */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../../lib/host/package.js";
import { type Room, rooms } from "./rooms.js";
import { mutantsOfRoom, type Score, scoreOf, testRoom } from "./score.js";

/** How many mutants are tested per room. */
export const sampleSize = 50;

/** The score of a room, or of a single file by its room's tests. */
export async function scoreRoom(
  name: string,
  room: Room,
  { say, onlySurvivors = false }: { say: (line: string) => void; onlySurvivors?: boolean },
): Promise<Score> {
  const root = packageRoot();
  const storedIn = path.join(root, ".cache", "mutation", `${name.replaceAll("/", "-")}.json`);
  const results = await testRoom(root, room, { count: sampleSize, seed: 1, say, storedIn, onlySurvivors });
  const equivalent = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, "equivalent.json"), "utf8"));
  return scoreOf(mutantsOfRoom(root, room).length, results, equivalent);
}

function roomOf(name: string): Room {
  if (Object.hasOwn(rooms, name)) return rooms[name]!;
  const isIn = (place: string) => name === place || name.startsWith(`${place}/`);
  const room = Object.values(rooms).find(
    ({ sources, leaveOut = [] }) => sources.some(isIn) && !leaveOut.some(isIn) && name.endsWith(".ts"),
  );
  if (room) return { sources: [name], tests: room.tests };
  throw new Error(
    `Cannot test ${name}: it is neither a source of a room nor a room (${Object.keys(rooms).join(", ")}).`,
  );
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const args = process.argv.slice(2);
  for (const name of args.filter((arg) => arg !== "--survivors")) {
    const { killed, equivalent, sample, mutants, percent, survivors } = await scoreRoom(name, roomOf(name), {
      say: (line) => console.log(`  ${line}`),
      onlySurvivors: args.includes("--survivors"),
    });
    console.log(
      `${name}: ${percent} %: ${killed} killed, ${equivalent} equivalent, of ${sample} of ${mutants} mutants`,
    );
    for (const survivor of survivors) console.log(`  survives: ${survivor}`);
  }
}
