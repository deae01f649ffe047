/** GPT-2's byte pairs in a page, in place of js-tiktoken/ranks/gpt2: a page has them only if its model needs them. */
import type { TiktokenBPE } from "js-tiktoken/lite";

const element = document.getElementById("gpt2-ranks");
const ranks = (element ? JSON.parse(element.textContent ?? "") : undefined) as TiktokenBPE;
export default ranks;
