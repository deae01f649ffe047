/**
 * The process that set-up's last step and `folio doctor --measure` start: measures, and keeps what it found beside the build.
 * A process of its own, since TensorFlow takes the environment that it is started with, and so that a crash is only its own.
 */
import { keepMeasurement, measurementFile } from "../engine/measurement.js";
import { measure } from "./measure.js";

try {
  const file = await measurementFile();
  const measured = await measure().catch((error: Error) => {
    throw new Error(`Cannot measure: ${error.message}.`, { cause: error });
  });
  keepMeasurement(file, measured);
  process.exit(0);
} catch (error) {
  console.error(`Error: ${(error as Error).message}`);
  process.exit(1);
}
