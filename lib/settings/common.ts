/** Settings that several tables share: what a run starts from, and where and how it computes. */
import { choice, integer, row, source } from "./rows.js";

/** What a run may start from: one of nanoGPT's names, or the path of a run, a Hugging Face folder, a ckpt.pt or a model.safetensors of a page. */
export type InitFrom = "scratch" | "resume" | "gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl" | (string & {});
/** mps is WebGPU on Apple's GPU. */
export type Device = "auto" | "cpu" | "cuda" | "webgpu" | "mps";
export type Dtype = "auto" | "float32" | "bfloat16" | "float16";

export const initFrom = source(
  "scratch, resume, gpt2, gpt2-medium, gpt2-large, gpt2-xl, or the path of a run, a Hugging Face folder, a ckpt.pt or a .safetensors",
);
export const device = choice("auto", "cpu", "cuda", "webgpu", "mps");
export const dtype = choice("auto", "float32", "bfloat16", "float16");
export const seed = integer(0, 0xffff_ffff);

/** Rows of the group that most commands have. */
export const machine = row("Machine");
export const run = row("Run");
export const deviceDoc =
  "Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu.";
export const dtypeDoc = "Number format of the matrix products; auto: bfloat16 where the hardware has it, else float32.";
