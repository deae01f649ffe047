/**
 * The text of a sample, token by token: a character whose bytes are spread over several tokens is returned once it is
 * complete, and a possible beginning of a stop text is held back until it is decided. Used by sample.ts.
 */
import type { Tokenizer } from "../data/tokenizers/tokenizer.js";

/** One sample's text. */
export interface TextStream {
  /** @returns the text that can be shown after this token, and whether a stop text has been reached */
  add(token: number): { text: string; stopped: boolean };
  /** The text that was held back, at the end of the sample. */
  rest(): string;
}

/**
 * @param stop texts that end the sample, and are not part of it
 * @param before the prompt's ids, since the text that a token adds can depend on the tokens before it, such as a space
 * between two words
 */
export function openTextStream(
  tokenizer: Tokenizer,
  stop: readonly string[] = [],
  before: readonly number[] = [],
): TextStream {
  // How many earlier tokens can affect the text of the next ones; for bytes and characters, none.
  const context = tokenizer.kind === "huggingface" || tokenizer.kind === "none" ? 8 : 0;
  let shown = context === 0 ? [] : before.slice(-context);
  let pending: number[] = []; // tokens whose last character is incomplete
  let held = ""; // may be the beginning of a stop text

  /** The text that the pending tokens add to the text of those before them. */
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

/** How many characters at the end of `text` could begin `stop`. */
function beginningAtEnd(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
