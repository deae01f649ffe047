/** Mutation tests of all rooms; test/mutation/ has the tool, its rooms, and the reasons for mutants that survive. */
import { rooms } from "../mutation/rooms.js";
import { sampleSize, scoreRoom } from "../mutation/run.js";
import type { Figures, Proof } from "./proof.js";

const leastPercent = 85;

export const mutation: Proof = {
  name: "mutation",
  claim: `in every room, its tests notice at least ${leastPercent} % of ${sampleSize} small changes of its sources that the tool draws with a fixed seed, without those that are named as equivalent`,
  inputs: [
    ...Object.values(rooms).flatMap(({ sources, tests }) => [...sources, ...tests]),
    ...["setup", "host"].map((name) => `test/mutation/${name}.ts`),
    "test/mutation/equivalent.json",
  ],
  async run({ say }) {
    const figures: Record<string, Figures> = {};
    let holds = true;
    for (const [name, room] of Object.entries(rooms)) {
      // What was tested is kept in .cache/mutation while the sources and the tests of a room stay the same.
      const { survivors, ...counts } = await scoreRoom(name, room, { say });
      say(`${name}: ${counts.percent} %`);
      figures[name] = { ...counts, survivors: Object.fromEntries(survivors.map((one, i) => [String(i + 1), one])) };
      holds &&= counts.percent >= leastPercent;
    }
    return { holds, figures };
  },
};
