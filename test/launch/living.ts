/** A process that gives signs of life, computes for some milliseconds without a pause, and ends. */
import { giveSignsOfLife } from "../../lib/launch/life.js";

giveSignsOfLife();
setTimeout(() => {
  const end = performance.now() + Number(process.argv[2]);
  while (performance.now() < end);
  process.disconnect();
}, 500);
