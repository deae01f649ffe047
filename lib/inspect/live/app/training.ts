/** The part of a live page that trains the model on a text. */
import { useRef, useState } from "preact/hooks";
import { bars } from "../../page/bars.js";
import { type Element, h } from "../../page/parts/element.js";
import { shortNumber } from "../../page/parts/numbers.js";
import { Button, Choice, Controls, Readout } from "../../page/parts/widgets.js";
import type { LiveModel } from "../live-model.js";
import type { TrainedStep, Trainer } from "../trainer.js";
import { Curve } from "./curve.js";

interface TrainingProps {
  readonly live: LiveModel;
  /** The text that came with the page. */
  readonly text: string;
  /** How samples during training begin. */
  readonly prompt: string;
  readonly onChange: () => void;
}

const rates = [0.0001, 0.0003, 0.001, 0.003];
/** The weights are shown, and a sample is written, every so many updates. */
const showEvery = 10;

export function Training({ live, text: given, prompt, onChange }: TrainingProps): Element {
  const [text, setText] = useState(given);
  const [rate, setRate] = useState(2);
  const [running, setRunning] = useState(false);
  const [losses, setLosses] = useState<readonly number[]>([]);
  const [last, setLast] = useState<TrainedStep>();
  const [sampled, setSampled] = useState("");
  const [message, setMessage] = useState("The weights are those that the page came with.");
  const [over, setOver] = useState(false);
  const trainer = useRef<{ key: string; trainer: Trainer } | undefined>(undefined);
  const stop = useRef(false);

  const halt = () => {
    stop.current = true;
  };

  /** Runs updates until it is told to stop, or `most` of them. */
  const train = async (most: number, layers: boolean) => {
    stop.current = false;
    setRunning(true);
    try {
      const key = `${rate} ${text}`;
      if (trainer.current?.key !== key) {
        trainer.current = { key, trainer: await live.train(text, { learningRate: rates[rate]! }) };
        setLosses([]);
      }
      for (let count = 1; count <= most && !stop.current; count++) {
        const from = performance.now();
        const step = await trainer.current.trainer.step({ layers });
        setLast(step);
        setLosses((before) => [...before, step.loss]);
        setMessage(
          `Update ${step.step}: loss ${step.loss.toFixed(3)} nats per token, ${Math.round(performance.now() - from)} ms.`,
        );
        if (count % showEvery === 0) await show();
        await new Promise((resolve) => setTimeout(resolve)); // lets the page draw, and the button be pressed
      }
      await show();
    } catch (error) {
      setMessage((error as Error).message);
    }
    setRunning(false);
  };
  const show = async () => {
    await live.refresh();
    onChange();
    let written = "";
    for await (const token of live.sample({ prompt, maxNewTokens: 80, temperature: 0.8, seed: 1 }))
      written += token.text;
    setSampled(prompt + written);
  };
  const reset = () => {
    live.reset();
    trainer.current = undefined;
    setLosses([]);
    setLast(undefined);
    setSampled("");
    setMessage("The weights are those that the page came with.");
    onChange();
  };
  const save = () => {
    const url = URL.createObjectURL(new Blob(live.save() as BlobPart[], { type: "application/octet-stream" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: "model.safetensors" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    setMessage(
      "Saved as model.safetensors. `folio sample --init_from=model.safetensors` and `folio train` with it go on from here.",
    );
  };
  const drop = async (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer?.files[0];
    if (file) setText(await file.text());
  };
  const choose = async (event: Event) => {
    const file = (event.currentTarget as HTMLInputElement).files?.[0];
    if (file) setText(await file.text());
  };
  return h(
    "div",
    {},
    h(
      "div",
      {
        class: `drop${over ? " over" : ""}`,
        onDragOver: (event: Event) => {
          event.preventDefault();
          setOver(true);
        },
        onDragLeave: () => setOver(false),
        onDrop: drop,
      },
      h("label", { for: "training-text" }, "Text to train on: type it, or drop a file here. "),
      h("input", {
        type: "file",
        "aria-label": "A text file to train on",
        accept: ".txt,.md,.csv,.json,text/*",
        onChange: choose,
      }),
      h("textarea", {
        ...{ id: "training-text", rows: 3, spellcheck: false, value: text },
        onInput: (event: Event) => setText((event.currentTarget as HTMLTextAreaElement).value),
      }),
    ),
    h(
      Controls,
      {},
      h(Choice, { label: "learning rate", options: rates.map(String), value: rate, onValue: setRate }),
      running
        ? h(Button, { label: "Stop training", onPress: halt })
        : h(Button, { label: "Train", onPress: () => void train(Infinity, false), disabled: text.length < 2 }),
      h(Button, { label: "One update", onPress: () => void train(1, true), disabled: running || text.length < 2 }),
      h(Button, { label: "Put the weights back", onPress: reset, disabled: running }),
      h(Button, { label: "Save the weights", onPress: save, disabled: running }),
    ),
    h(Readout, {}, message),
    losses.length > 0 && h(Curve, { losses }),
    last?.layers &&
      bars({
        title: "Gradient of each layer in this update: its length",
        rows: last.layers.map(({ part, gradientNorm }) => ({ label: part, value: gradientNorm })),
        axis: "‖gradient‖",
      }),
    last?.layers &&
      h(
        "p",
        { class: "hint" },
        `The update changed the layers by ${last.layers.map(({ part, ratio }) => `${part} ${shortNumber(100 * ratio)} %`).join(", ")} of their length.`,
      ),
    sampled !== "" && h("h3", {}, "What it writes now"),
    sampled !== "" && h("div", { class: "sampled" }, sampled),
  );
}
