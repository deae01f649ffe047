import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { commands, finish, folioCommand, type Proof, start } from "./proof.js";
import { writeSaltedText } from "./salted-text.js";

const kills = 10;

export const killPrepare: Proof = {
  name: "kill-prepare",
  claim: "Preparing a large text, killed ten times with SIGKILL, continues each time and ends with the same bytes",
  inputs: commands("prepare"),
  async run({ folder, say }) {
    const text = path.join(folder, "text.txt");
    const bytes = writeSaltedText(text, 400_000_000);
    const args = (name: string) => [folioCommand, "prepare", name, `--from=${text}`, `--data_dir=${folder}`];
    const digest = (name: string) =>
      ["train.bin", "val.bin"].map((file) =>
        createHash("sha256")
          .update(fs.readFileSync(path.join(folder, name, file)))
          .digest("hex"),
      );
    const whole = await finish(process.execPath, args("whole"));
    if (whole.code !== 0) throw new Error(whole.output);

    const progress = path.join(folder, "killed", "preparing.json");
    const committed = (): number => {
      try {
        return JSON.parse(fs.readFileSync(progress, "utf8")).next.offset;
      } catch {
        return 0;
      }
    };
    let resumed = 0;
    for (let round = 1; round <= kills; round++) {
      const before = committed();
      const child = start(process.execPath, args("killed"));
      child.stdout!.on("data", (chunk: Buffer) => {
        if (chunk.includes("continuing after")) resumed++;
      });
      const ended = new Promise((resolve) => child.on("close", resolve));
      // Killed soon after a commit, at a different moment each time, mostly in the middle of a write.
      while (committed() === before && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, (37 * round) % 100));
      if (child.exitCode !== null) throw new Error(`it ended before kill ${round}; the text is too short`);
      child.kill("SIGKILL");
      await ended;
      say(`kill ${round} after ${committed().toLocaleString("en")} bytes were committed`);
    }
    const last = await finish(process.execPath, args("killed"));
    const equal = last.code === 0 && digest("killed").join() === digest("whole").join();
    const goneOn = resumed + (last.output.includes("continuing after") ? 1 : 0);
    fs.rmSync(folder, { recursive: true });
    return { holds: equal && goneOn === kills, figures: { bytes, kills, goneOn, sameBytes: equal } };
  },
};
