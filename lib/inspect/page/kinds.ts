/** Every view by name; lib/inspect/views/ makes their data. */
import { attention } from "./attention.js";
import { namedBars } from "./bars.js";
import { map } from "./map.js";
import { nextToken } from "./next-token.js";
import { player } from "./player.js";
import { prompts } from "./prompts.js";
import { slices } from "./slices.js";
import { tokenText } from "./token-text.js";
import { tree } from "./tree.js";

export const kinds = { attention, bars: namedBars, map, nextToken, player, prompts, slices, tokenText, tree };
export type KindName = keyof typeof kinds;
/** The data of a kind of view. */
export type DataOf<K extends KindName> = Parameters<(typeof kinds)[K]["picture"]>[0];
