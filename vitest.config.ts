import { defineConfig } from "vitest/config";

const plain = "test/{model/model,train/steps,train/tiny,train/train,train/optimizers/adamw}.test.ts";

export default defineConfig({
  test: {
    // The native addon and process.env (read by C's getenv) need processes of their own, one per core.
    pool: "forks",
    maxWorkers: 2,
    // For what hangs: nothing here depends on how fast the machine is, or how busy.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    setupFiles: ["test/hanging.ts"],
    projects: [
      { extends: true, test: { name: "folio", include: ["test/**/*.test.ts"] } },
      // Once more without Folio's own operations: what runs where they do not compile, and on a GPU.
      { extends: true, test: { name: "plain", include: [plain], env: { FOLIO_FUSED: "0" } } },
    ],
  },
});
