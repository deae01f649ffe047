import { describe, expect, test } from "vitest";
import { float32 } from "../../lib/engine/host-tensors.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import { brokenWeights, checkMemory, explained, explainedUse, exploded, stateBytes } from "../../lib/train/failures.js";
import { saveCheckpoint } from "../../lib/weights/checkpoint.js";
import { temporaryFolder, tinySettings } from "../tiny-run.js";

const settings: Settings = { ...defaultSettings, vocabSize: 50_304 }; // 124M

describe("memory", () => {
  test("for weights, gradients and two moments is 16 bytes per parameter, 20 with micro-batches, 4 to evaluate", () => {
    const parameters = 124_373_760; // 124,354,560 that decay and 19,200 others
    expect(stateBytes({ ...settings, gradientAccumulationSteps: 1 })).toBe(16 * parameters);
    expect(stateBytes(settings)).toBe(20 * parameters);
    expect(stateBytes({ ...settings, evalOnly: true })).toBe(4 * parameters);
  });

  test("that is too small is reported in numbers; a run that fits is accepted", () => {
    checkMemory(settings, 2.49e9);
    expect(() => checkMemory(settings, 2.4e9)).toThrow(
      /^Cannot build the model: its 124,373,760 parameters need 2\.5 GB \(weights, gradients and AdamW's moments\), but there are only 2\.4 GB; lower nEmbd, nLayer or blockSize\.$/,
    );
    expect(() => checkMemory({ ...settings, evalOnly: true }, 1e8)).toThrow(
      "need 0.497 GB (weights), but there are only 0.100 GB",
    );
  });

  test("either side of its limits: 20 bytes per parameter to train, 8 + 4 nEmbd per token of a batch", () => {
    const said = (availableBytes: number, more: Partial<Settings> = {}) => {
      try {
        checkMemory({ ...settings, ...more }, availableBytes);
      } catch (error) {
        return (error as Error).message;
      }
      return "fits";
    };
    expect(said(20 * 124_373_760)).toBe("fits");
    expect(said(20 * 124_373_760 - 1)).toMatch(/^Cannot build the model: /);
    // 900 × 1,024 tokens of 768 features.
    const batchBytes = 900 * 1024 * (8 + 4 * 768);
    expect(said(batchBytes, { batchSize: 900 })).toBe("fits");
    expect(said(batchBytes - 1, { batchSize: 900 })).toBe(
      "Cannot train: a batch of 900 × 1,024 tokens needs more than 2.8 GB, but there are only 2.8 GB; lower batchSize (and raise gradientAccumulationSteps) or blockSize.",
    );
  });

  test("that runs out gives a message with what to lower and by how much; other errors are unchanged", () => {
    const message = (text: string, more: Partial<Settings> = {}) =>
      (explained(new Error(text), { ...settings, ...more }) as Error).message;
    // TensorFlow 2.21 on a CPU, under `ulimit -v`.
    const tensorflow =
      "Cannot run a step: OOM when allocating tensor with shape[5120000,192] and type float on /job:localhost/replica:0/task:0/device:CPU:0 by allocator mklcpu";
    expect(message(tensorflow)).toBe(
      `Cannot continue: memory ran out (${tensorflow}). 2.5 GB are always in use, the rest grows with the batch: lower batchSize (batchSize: 6 with gradientAccumulationSteps: 80 trains on as many tokens per step), blockSize (1024), or the model.`,
    );
    expect(message("Array buffer allocation failed", { batchSize: 1 })).toMatch(
      /batch: lower blockSize \(1024\), or the mo/,
    );
    expect(message("Invalid typed array length: 1e12", { vocabSize: 0 })).toMatch(/\)\. To use less, lower batchSize/);
    const other = new Error("Cannot continue: the loss is NaN");
    expect(explained(other, settings)).toBe(other);
    expect(explained("text", settings)).toBe("text");
  });
});

test("weights are not saved if one is NaN or beyond 1e18", () => {
  const weights = (value: number) => ({ a: float32([1, 2], [2]), b: float32([-1, value], [2]) });
  expect(brokenWeights(weights(-1e17))).toBeUndefined();
  expect(brokenWeights(weights(-2e18))).toBe("b has values as large as 2.00e+18");
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    expect(brokenWeights(weights(value))).toMatch(/^b has va/);
});

describe("the last good checkpoint", () => {
  const folder = temporaryFolder();
  const tiny = { ...tinySettings(folder, "run"), vocabSize: 28 };
  const save = (step: number, value: number, more: { best?: boolean; keep?: number } = {}) => {
    const values = parameterSpecs(tiny).map(({ name, shape }) => {
      const count = shape.reduce((product, axis) => product * axis, 1);
      return [name, float32(new Float32Array(count).fill(value), shape)] as const;
    });
    const params = Object.fromEntries(values);
    const state = { runId: "0123456789abcdef", step, evaluated: true, bestValLoss: 1, trainedMs: 1, versions: {} };
    const tokenizer = { kind: "char", vocabulary: "ab" } as never;
    const all = { ...state, settings: tiny, tokenizer, params, optimizer: { m: params, v: params } };
    return saveCheckpoint(tiny.outDir, all, { best: false, ...more });
  };
  const told = () => exploded({ settings: tiny, step: 9 }, "the loss is NaN").message;

  test("is none, the last one, or an earlier one if the last has bad numbers", () => {
    expect(told()).toContain("No checkpoint has been saved yet.");
    save(2, 0.5, { keep: 0 });
    expect(told()).toContain(`The last good checkpoint is step 2 in ${tiny.outDir}.`);
    save(3, Number.NaN);
    expect(told()).toMatch(
      /The last checkpoint in .* is not good either \(wte\.weight has values as large as NaN\), but that of step 2 is: start from its weights \(initFrom: ".*", checkpoint: "2", another outDir\)\./,
    );
    save(2, Number.POSITIVE_INFINITY, { keep: 0 });
    expect(told()).toMatch(/No checkpoint in .* is good: wte\.weight has values as large as Infinity\./);
  });

  test("is otherwise the best one, else the newest of those kept by their step", () => {
    for (const step of [4, 6]) save(step, 0.5, { keep: 0 });
    save(7, Number.NaN);
    expect(told()).toContain("that of step 6 is: start from its weights");
    save(5, 0.5, { best: true });
    save(8, Number.NaN);
    expect(told()).toMatch(
      /but that of step 5 is: start from its weights \(initFrom: ".*", checkpoint: "best", another/,
    );
  });
});

describe("a message of TensorFlow", () => {
  const message = (text: string, more: Partial<Settings> = {}) =>
    (explained(new Error(text), { ...settings, ...more }) as Error).message;

  // TensorFlow's messages: xla/service/gpu, core/framework/op_kernel.cc, core/framework/op.cc, stream_executor/cuda.
  test("about a step that XLA cannot compile ends with how to switch XLA off, if it was on", () => {
    const found = "Cannot run a step: libdevice not found at ./libdevice.10.bc [[{{node cluster_0_1/xla_run}}]]";
    expect(message(found, { xla: true })).toBe(
      "Cannot compile the step with XLA: libdevice not found at ./libdevice.10.bc [[{{node cluster_0_1/xla_run}}]]. The step runs without it, too: xla: false.",
    );
    expect(message("JIT compilation failed.", { xla: true })).toMatch(/^Cannot compile the step with XLA: JIT comp/);
    expect(message("JIT compilation failed.")).toBe("JIT compilation failed.");
  });

  test("about an operation that the device, the number format or the graph lacks names the settings to change", () => {
    expect(
      message(
        "Cannot run a step: No OpKernel was registered to support Op 'Erf' used by {{node h/gelu}} with these attrs: [T=DT_HALF]",
        { dtype: "float16" },
      ),
    ).toMatch(
      /^Cannot compile the step: .*'Erf' used by .*\. Try dtype: "float32", compile: false \(eager.*, or device/,
    );
    expect(message("Cannot run a step: Op type not registered 'FolioGelu' in binary running on host.")).toMatch(
      /^Cannot compile the step: TensorFlow does not know an operation \(Op type.*host\)\. If its name begins with Folio, run `npm run setup`/,
    );
  });

  test("about an old driver or a failing GPU refers to folio doctor", () => {
    expect(message("CUDA driver version is insufficient for CUDA runtime version")).toMatch(
      /^Cannot use the GPU: its driver does not fit this TensorFlow \(.*\)\. `folio doctor` shows .*device: "cpu"\.$/,
    );
    expect(message("Cannot run a step: failed to enqueue: CUDA_ERROR_ILLEGAL_ADDRESS")).toMatch(
      /^Cannot continue: the GPU failed \(failed to enqueue: CUDA_ERROR_ILLEGAL_ADDRESS\)\. Run `folio doctor`/,
    );
    expect(message("failed to allocate: CUDA_ERROR_OUT_OF_MEMORY")).toMatch(/^Cannot continue: memory ran out/);
  });

  test("is unchanged if Folio has already added advice, and works for sampling and evaluation, too", () => {
    const own = new Error(
      "Cannot use device cuda: TensorFlow sees no NVIDIA GPU here, CUDA_ERROR_NO_DEVICE; see doctor.",
    );
    expect(explained(own, settings)).toBe(own);
    const lower = "numSamples or dtype";
    expect((explainedUse(new Error("OOM when allocating tensor"), { lower }) as Error).message).toBe(
      "Cannot continue: memory ran out (OOM when allocating tensor). To use less, lower numSamples or dtype.",
    );
    expect((explainedUse(new Error("CUDA_ERROR_UNKNOWN"), { lower }) as Error).message).toMatch(
      /^Cannot continue: the GPU/,
    );
    expect(explainedUse(own, { lower })).toBe(own);
    expect(explainedUse("text", { lower })).toBe("text");
  });
});
