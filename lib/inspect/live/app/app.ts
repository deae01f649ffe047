/** A live page: what the user chooses, what the model answers, and the cards that show it. */
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { backendTitles, type ChosenBackend } from "../../../engine/page/backend.js";
import { type Element, h } from "../../page/parts/element.js";
import { Button, Controls } from "../../page/parts/widgets.js";
import { offerApi } from "../api.js";
import type { PlainEdit } from "../edits.js";
import type { PageDescription } from "../embedded.js";
import type { LiveModel } from "../live-model.js";
import { Attention, Card, Compared, meanLoss, NextToken, Residual, Switches, Tokens, ValueEdits } from "./panels.js";
import { lookAt, type Shown, type Wanted } from "./state.js";
import { liveCss } from "./style.js";
import { stations, Tour } from "./tour.js";
import { Training } from "./training.js";
import { Writing } from "./writing.js";

interface AppProps {
  readonly live: LiveModel;
  readonly description: PageDescription;
  readonly backend: ChosenBackend;
  readonly host: HTMLElement;
}

/** The answer to what is wanted; while the model computes, later wishes replace earlier ones. */
function useShown(live: LiveModel, wanted: Wanted): { shown: Shown | undefined; error: string } {
  const [shown, setShown] = useState<Shown>();
  const [error, setError] = useState("");
  const latest = useRef(wanted);
  const running = useRef(false);
  latest.current = wanted;
  const run = async () => {
    if (running.current) return;
    running.current = true;
    for (let done: Wanted | undefined; done !== latest.current; ) {
      done = latest.current;
      try {
        setShown(await lookAt(live, done));
        setError("");
      } catch (fault) {
        setError((fault as Error).message);
      }
    }
    running.current = false;
  };
  const { text, other, edits, lens } = wanted;
  useEffect(() => void run(), [text, other, edits, lens, live.version]);
  return { shown, error };
}

const units: Readonly<Record<string, string>> = { char: "single characters", none: "numbers" };

function App({ live, description, backend, host }: AppProps): Element {
  const [text, setText] = useState(description.prompt);
  const [other, setOther] = useState<string>();
  const [edits, setEdits] = useState<readonly PlainEdit[]>([]);
  const [lens, setLens] = useState(false);
  const [, setChanges] = useState(0);
  const [at, setAt] = useState<number>();
  const [large, setLarge] = useState(false);
  const wanted = useWanted(text, other, edits, lens, live.version);
  const { shown, error } = useShown(live, wanted);
  useEffect(() => {
    offerApi(live, description, backend, {
      edit: (edit) => setEdits((before) => (edit ? [...before, edit] : [])),
      changed: () => setChanges((count) => count + 1),
    });
  }, []);
  useEffect(() => {
    if (shown) host.dataset.ready = "true";
  }, [shown]);
  const tour = stations(units[description.tokenizer.kind] ?? "pieces of words");
  const card = at === undefined ? undefined : tour[at]!.card;
  useEffect(() => {
    if (card) host.shadowRoot?.getElementById(card)?.scrollIntoView({ behavior: "smooth", block: "start" });
  }, [card]);
  const toggleSize = () => {
    host.dataset.size = large ? "" : "large";
    setLarge(!large);
  };
  const startTour = () => {
    setEdits([]);
    setText(description.prompt);
    setAt(0);
  };
  const promptable = (prompt: string) => {
    try {
      live.model.tokenizer.encode(prompt);
      return () => setText(prompt);
    } catch {
      return undefined;
    }
  };
  const place = (id: string) => ({ id, here: card === id });
  const cards = shown && [
    h(Card, { ...place("tokens"), title: "Tokens and their losses", width: "half" }, h(Tokens, { shown })),
    h(Card, { ...place("next"), title: "Next token", width: "half" }, h(NextToken, { shown, live })),
    h(
      Card,
      { ...place("writing"), title: "Write on", width: "half" },
      h(Writing, { live, text, edits, onText: setText }),
    ),
    h(
      Card,
      { ...place("switches"), title: "Switch parts off", width: "half" },
      h(Switches, { live, edits, onEdits: setEdits }),
      h("p", { "aria-live": "polite" }, meanLoss(shown)),
      h("p", { class: "hint" }, "A part that is switched off adds nothing to the residual stream."),
    ),
    h(Card, { ...place("attention"), title: "Attention" }, h(Attention, { shown })),
    h(Card, { ...place("residual"), title: "The residual stream" }, h(Residual, { shown, lens, onLens: setLens })),
    h(Card, { ...place("edits"), title: "Edit a value" }, h(ValueEdits, { live, edits, onEdits: setEdits })),
    h(
      Card,
      { ...place("training"), title: "Train on" },
      h(Training, {
        ...{ live, text: description.text, prompt: description.prompt },
        onChange: () => setChanges((count) => count + 1),
      }),
    ),
  ];
  return h(
    "main",
    {},
    h("style", {}, liveCss),
    h(
      "header",
      { class: "top" },
      h("h1", {}, description.title),
      h("p", {}, factsOf(live, backend, shown)),
      h(
        "button",
        { type: "button", "aria-pressed": large, onClick: toggleSize, title: "Larger text for a lecture room" },
        "A±",
      ),
      h(Button, { label: at === undefined ? "Take the tour" : "Start the tour again", onPress: startTour }),
    ),
    at !== undefined &&
      h(
        Tour,
        { stations: tour, at, onAt: setAt, onPrompt: promptable },
        h(Prompt, { label: "Prompt, in sight during the tour", value: text, onValue: setText }),
      ),
    h(
      Card,
      { ...place("prompt"), title: "Prompt" },
      h(Prompt, { label: "Prompt", value: text, onValue: setText }),
      error !== "" && h("p", { class: "error", role: "alert" }, error),
      h(
        Controls,
        {},
        other === undefined
          ? h(Button, { label: "Compare with another prompt", onPress: () => setOther(text) })
          : h(Button, { label: "One prompt", onPress: () => setOther(undefined) }),
      ),
      other !== undefined && h(Prompt, { label: "Other prompt", value: other, onValue: setOther }),
      other !== undefined && shown && h(Compared, { shown }),
    ),
    cards,
  );
}

/** The same object until something in it changes. */
function useWanted(
  text: string,
  other: string | undefined,
  edits: readonly PlainEdit[],
  lens: boolean,
  version: number,
): Wanted {
  const kept = useRef<{ key: string; wanted: Wanted } | undefined>(undefined);
  const key = JSON.stringify([text, other, edits, lens, version]);
  if (kept.current?.key !== key)
    kept.current = { key, wanted: { text, ...(other !== undefined && { other }), edits, lens } };
  return kept.current.wanted;
}

function Prompt(props: { label: string; value: string; onValue: (value: string) => void }): Element {
  const { label, value, onValue } = props;
  return h("textarea", {
    ...{ "aria-label": label, rows: 2, spellcheck: false, autocapitalize: "off", value },
    onInput: (event: Event) => onValue((event.currentTarget as HTMLTextAreaElement).value),
  });
}

function factsOf({ model }: LiveModel, { name, ms }: ChosenBackend, shown: Shown | undefined): string {
  const { nLayer, nHead, nEmbd, blockSize } = model.settings;
  const parameters = Object.values(model.params).reduce((sum, { values }) => sum + values.length, 0);
  const size = `${parameters.toLocaleString("en")} parameters: ${nLayer} layers, ${nHead} heads, ${nEmbd} features, ${blockSize} positions`;
  const speed = `${backendTitles[name]}, ${Math.round(ms[name] ?? 0)} ms for ${Math.min(64, blockSize)} tokens`;
  return `${size}. ${speed}${shown ? `; this look ${Math.round(shown.ms)} ms` : ""}.`;
}

/** Draws the page. */
export function mountApp(props: Omit<AppProps, "host">, host: HTMLElement): void {
  host.textContent = "";
  render(h(App, { ...props, host }), host.attachShadow({ mode: "open" }));
}
