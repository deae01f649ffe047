import { describe, expect, test } from "vitest";
import { parsePythonConfig } from "../../lib/settings/python-config.js";

describe("parsePythonConfig()", () => {
  test("reads literals, arithmetic, names from above, comments and text in quotes", () => {
    const source = `"""a model
of characters"""
import time
from math import pi

out_dir = 'out-#1' # a folder, not a comment
eval_interval = 250
learning_rate = 1e-3
min_lr = learning_rate / 10
gradient_accumulation_steps = 5 * 8
max_iters = 600_000
lr_decay_iters: int = max_iters
beta2 = .99
always_save_checkpoint = False
top_k = None
start = "two\\nlines"
wandb_run_name = 'ft-' + str(time.time())
power = -2 ** 2 + 7 // 2 - (1 + 1) # Python's: -(2 ** 2)
#device = 'cpu'
  # indented
`;
    expect(parsePythonConfig(source)).toEqual({
      out_dir: "out-#1",
      eval_interval: 250,
      learning_rate: 1e-3,
      min_lr: 1e-4,
      gradient_accumulation_steps: 40,
      max_iters: 600_000,
      lr_decay_iters: 600_000,
      beta2: 0.99,
      always_save_checkpoint: false,
      top_k: null,
      start: "two\nlines",
      power: -3,
    });
  });

  test.each([
    ["n_layer = int('4')", "line 1"],
    ["a = 1\n\nif a:", 'line 3 is "if a:"'],
    ["n_layer = unknown", "line 1"],
    ["n_layer = 4,", "line 1"],
    ["n_layer = 4 'x'", "line 1"],
    ["n_layer = (4", "line 1"],
    ["n_layer == 4", "line 1"],
    ["n_layer = toString", "line 1"],
    ["exec(open('x').read())", "line 1"],
    ["  n_layer = 4", "line 1"],
  ])("refuses %j by its line", (source, message) => {
    expect(() => parsePythonConfig(source)).toThrow(message);
  });
});
