/**
 * Text as it is written, token by token: a character whose bytes are spread over tokens is given out once it is whole,
 * and what may be the beginning of a stop text is held back until it is clear. It draws nothing; sample.ts feeds it.
 */
import type { Tokenizer } from "../data/tokenizers/tokenizer.js";

/** One sample's text. */
export interface TextStream {
  /** @returns what the token adds to the text that may be shown, and whether a stop text has been reached */
  add(token: number): { text: string; stopped: boolean };
  /** What was held back, when nothing follows. */
  rest(): string;
}

/**
 * @param stop texts at which the sample ends; they are not part of it
 * @param before the prompt's ids: what a token adds can depend on what stands before it, as a space between two words does
 */
export function openTextStream(
  tokenizer: Tokenizer,
  stop: readonly string[] = [],
  before: readonly number[] = [],
): TextStream {
  // Tokens whose text was given out, as many as can matter to the next ones; of bytes and characters none does.
  const context = tokenizer.kind === "huggingface" || tokenizer.kind === "none" ? 8 : 0;
  let shown = context === 0 ? [] : before.slice(-context);
  let pending: number[] = []; // tokens whose last character is not whole yet
  let held = ""; // may be the beginning of a stop text

  /** What the pending tokens add to the text of those before them. */
  const added = () => {
    if (context === 0) return tokenizer.decode(pending);
    const known = tokenizer.decode(shown);
    const all = tokenizer.decode([...shown, ...pending]);
    return all.startsWith(known) ? all.slice(known.length) : tokenizer.decode(pending);
  };

  return {
    add(token) {
      pending.push(token);
      const decoded = added();
      if (decoded.endsWith("\uFFFD")) return { text: "", stopped: false };
      if (context > 0) shown = [...shown, ...pending].slice(-context);
      pending = [];
      held += decoded;
      const ends = stop.map((text) => held.indexOf(text)).filter((index) => index >= 0);
      if (ends.length > 0) {
        const text = held.slice(0, Math.min(...ends));
        held = "";
        return { text, stopped: true };
      }
      const keep = Math.max(0, ...stop.map((text) => beginningAtEnd(held, text)));
      const text = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return { text, stopped: false };
    },
    rest: () => held + (pending.length > 0 ? added() : ""),
  };
}

/** How many characters at the end of `text` are a beginning of `stop`. */
function beginningAtEnd(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
