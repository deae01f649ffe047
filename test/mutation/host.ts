/** Runs vitest in the copy, warm: sources are transformed once, and each run of test files has processes of its own. */
import path from "node:path";
import { createVitest } from "vitest/node";
import type { Outcome, Request } from "./sandbox.js";

const vitest = await createVitest("test", { config: "vitest.mutation.ts", watch: false, run: true, reporters: [{}] });
const relative = (file: string) => path.relative(process.cwd(), file);

async function run({ files, project, env }: Request): Promise<Outcome> {
  Object.assign(process.env, env);
  const all = await vitest.globTestSpecifications([...files]);
  const specs = all.filter((spec) => spec.project.name === project && files.includes(relative(spec.moduleId)));
  if (specs.length === 0) return { failures: [], tests: [] };
  const { unhandledErrors } = await vitest.runTestSpecifications(specs);
  const failures: string[] = [];
  const tests: { file: string; name: string; ms: number }[] = [];
  for (const { testModule } of specs) {
    const file = relative(testModule?.moduleId ?? "");
    for (const test of testModule?.children.allTests() ?? []) {
      const { state } = test.result();
      if (state === "failed") failures.push(`${file}: ${test.fullName}`);
      if (state === "passed") tests.push({ file, name: test.fullName, ms: test.diagnostic()?.duration ?? 0 });
    }
    const fault = testModule?.errors()[0] ?? (testModule?.ok() === false ? { message: "it failed" } : undefined);
    if (fault && failures.length === 0) failures.push(`${file}: ${fault.message.split("\n")[0]}`);
  }
  const outside = unhandledErrors.map(
    (error) => `outside the tests: ${String((error as Error).message).split("\n")[0]}`,
  );
  return { failures: [...failures, ...outside], tests };
}

process.on("message", (request: Request) => {
  run(request).then(
    (outcome) => process.send?.(outcome),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
