/**
 * The process started by set-up's last step and `folio doctor --measure`: it measures, and stores the result beside the
 * build. It is a separate process because TensorFlow reads its environment only when it is loaded, and to contain
 * crashes.
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
