// What make-check.py asks for: GPT-2's ids of the prompts and of the text of `folio check gpt2`'s test, and the order of
// the parameters. Needs a build.
import { gpt2Tokenizer, parameterSpecs } from "../../dist/lib/index.js";
import { documents, prompts, shape, targets } from "../check/documents.mjs";

const tokenizer = gpt2Tokenizer();
const text = documents.flatMap((document) => [...tokenizer.encode(document), tokenizer.endOfText]);
if (text.length <= targets) throw new Error(`the text has ${text.length} tokens; wanted more than ${targets}`);
console.log(
  JSON.stringify({
    parameters: parameterSpecs({ ...shape, initStd: 0.02 }).map(({ name }) => name),
    prompts: prompts.map((prompt) => [...tokenizer.encode(prompt)]),
    text: text.slice(0, targets + 1),
  }),
);
process.exit(0);
