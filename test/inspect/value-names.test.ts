/** The table of names in lib/inspect/values.md is the catalogue's. `npx vitest run test/inspect/value-names.test.ts -u` writes it. */
import { expect, test } from "vitest";
import { type ValueSpec, valueSpecs } from "../../lib/model/activations.js";

const code = (text: string) => (text === "–" ? text : `\`${text}\``);

/** A row of the table; of a layer's values one for all layers. */
function row({ name, axes, meaning, transformerLens, nanoGpt }: ValueSpec): string {
  const hook = name.startsWith("h.0.") ? transformerLens.replace("blocks.0.", "blocks.L.") : transformerLens;
  const cells = [code(name.replace("h.0.", "h.L.")), `[${axes.join(", ")}]`, meaning, code(hook), code(nanoGpt)];
  return `| ${cells.join(" | ")} |`;
}

const page = `# Every value of a forward pass, by name

\`look(model, text, names)\` gives these values, and their gradients; \`edits\` replace them. In \`h.L.…\`, L is the layer, from 0. The
names are the model's own: [lib/model/activations.ts](../model/activations.ts) lists them, and
[lib/model/model.ts](../model/model.ts) computes them in this order. This page is made from that list.

Axes: B sequences (\`look\` has one), T positions, S positions that are looked at, H heads, D features of a head, C features, 4C features
inside the MLP, V ids, 1 a single number. Where there is a dash, the other program has no name for the value. TransformerLens has the
heads of q, k, v, z and result on the third axis, [B, T, H, D]; its scores are masked; and it folds the norms' weights and biases into
the layers after them, unless it is told not to.

| Name | Axes | Meaning | TransformerLens | nanoGPT |
| --- | --- | --- | --- | --- |
${valueSpecs({ nLayer: 1 }).map(row).join("\n")}
`;

test("lib/inspect/values.md lists the catalogue, with TransformerLens's and nanoGPT's names", async () => {
  expect(page.match(/^\| `/gm)).toHaveLength(valueSpecs({ nLayer: 1 }).length);
  await expect(page).toMatchFileSnapshot("../../lib/inspect/values.md");
});
