/** The part of a live page that writes on: token by token, or flowing, with the sampler's settings. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { SampledToken } from "../../../sample/sample.js";
import { type Element, h } from "../../page/parts/element.js";
import { percent, shownToken } from "../../page/parts/numbers.js";
import { Button, Controls, Readout, Slider } from "../../page/parts/widgets.js";
import { editsOf, type PlainEdit } from "../edits.js";
import type { LiveModel } from "../live-model.js";

interface WritingProps {
  readonly live: LiveModel;
  readonly text: string;
  readonly edits: readonly PlainEdit[];
  readonly onText: (text: string) => void;
}

/** “Write on” stops by itself after so many tokens. */
const most = 60;

/** A sample under way: it goes on as long as nothing else changed the text. */
interface Flow {
  readonly key: string;
  readonly tokens: AsyncGenerator<SampledToken>;
  text: string;
}

export function Writing({ live, text, edits, onText }: WritingProps): Element {
  const [temperature, setTemperature] = useState(0.8);
  const [topK, setTopK] = useState(0);
  const [topP, setTopP] = useState(1);
  const [seed, setSeed] = useState(1337);
  const [last, setLast] = useState<SampledToken>();
  const [flowing, setFlowing] = useState(false);
  const flow = useRef<Flow | undefined>(undefined);
  const stop = useRef(false);
  const V = live.model.settings.vocabSize;
  const key = JSON.stringify([temperature, topK, topP, seed, edits, live.version]);
  const halt = () => {
    stop.current = true;
  };
  useEffect(() => halt, []);

  /** The next token of the sample, which begins again where the text or a setting changed. */
  const next = async (before: string): Promise<string | undefined> => {
    if (flow.current?.key !== key || flow.current.text !== before) {
      await flow.current?.tokens.return(undefined);
      const plain = editsOf(edits);
      const options = { prompt: before, temperature, topK, topP, seed, alternatives: 3, maxNewTokens: 1_000_000 };
      flow.current = { key, text: before, tokens: live.sample({ ...options, ...(plain && { edits: plain }) }) };
    }
    const { value, done } = await flow.current.tokens.next();
    if (done || !value) return undefined;
    setLast(value);
    flow.current.text = before + value.text;
    return flow.current.text;
  };
  const one = async () => {
    const longer = await next(text);
    if (longer !== undefined) onText(longer);
  };
  const write = async () => {
    stop.current = false;
    setFlowing(true);
    let now: string | undefined = text;
    for (let count = 0; count < most && !stop.current; count++) {
      now = await next(now);
      if (now === undefined) break;
      onText(now);
      await new Promise((resolve) => setTimeout(resolve)); // lets the page draw
    }
    setFlowing(false);
  };
  const told = last
    ? `Drawn: ${shownToken(last.text)} (${percent(last.probability ?? 0)}). Likeliest: ${(last.alternatives ?? []).map((one) => `${shownToken(one.text)} ${percent(one.probability)}`).join(", ")}.`
    : "Nothing is drawn yet.";
  return h(
    "div",
    {},
    h(
      Controls,
      {},
      h(Slider, { label: "temperature", min: 0.1, max: 2, step: 0.05, value: temperature, onValue: setTemperature }),
      h(Slider, {
        ...{ label: "top k", min: 0, max: Math.min(V, 200), step: 1, value: topK, onValue: setTopK },
        shown: topK === 0 ? "all" : `${topK}`,
      }),
      h(Slider, { label: "top p", min: 0.05, max: 1, step: 0.01, value: topP, onValue: setTopP }),
      h(
        "label",
        {},
        h("span", {}, "seed"),
        h("input", {
          ...{ type: "number", min: 0, step: 1, value: seed },
          onInput: (event: Event) =>
            setSeed(Math.max(0, Math.floor(Number((event.currentTarget as HTMLInputElement).value)) || 0)),
        }),
      ),
    ),
    h(
      Controls,
      {},
      h(Button, { label: "One token", onPress: () => void one(), disabled: flowing }),
      flowing
        ? h(Button, { label: "Stop", onPress: halt })
        : h(Button, { label: "Write on", onPress: () => void write() }),
    ),
    h(Readout, {}, told),
    last && h("div", { class: "sampled" }, text.slice(-240)),
  );
}
