/**
 * A terminal that closes while a program of Node's is at work. At its end Node sets terminals back to how it found them, and
 * aborts (SIGABRT, a core dump) where one is gone: whatever was saved, the exit code would be lost. So at the end the place of
 * a terminal that is gone is taken by /dev/null, which Node leaves alone.
 */
import fs from "node:fs";
import tty from "node:tty";

const terminals = [0, 1, 2].filter((descriptor) => tty.isatty(descriptor));

/** To be called once, before the program's work. */
export function outliveTerminal() {
  process.on("exit", () => {
    for (const descriptor of terminals) {
      if (tty.isatty(descriptor)) continue;
      fs.closeSync(descriptor);
      // The lowest number that is free: this one.
      fs.openSync("/dev/null", "r+");
    }
  });
}
