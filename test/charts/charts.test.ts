import { describe, expect, test } from "vitest";
import { svgImage, toSvg } from "../../lib/charts/figure-svg.js";
import { figureWords } from "../../lib/charts/figure-words.js";
import { lineChart, toHtml } from "../../lib/charts/line-chart.js";
import { lossCurve } from "../../lib/charts/loss-curve.js";

const chart = {
  title: "Loss & compute",
  xLabel: "compute (FLOPs)",
  yLabel: "loss (nats per token)",
  series: [
    { name: "small <1 M>", x: [1e15, 1e16, 1e17], y: [4, 3, 2.5] },
    { name: "large", x: [1e15, 1e16, 1e17], y: [5, 2.8, 2.4], dash: "dash" as const, markers: true },
  ],
  lines: [{ y: 1.69, label: "E" }],
};

/** Checks that elements open and close in pairs, as XML requires. */
function isWellFormed(xml: string): boolean {
  const open: string[] = [];
  for (const [, close, name, attributes] of xml.matchAll(/<(\/?)([a-zA-Z]+)((?:"[^"]*"|[^">])*)>/g)) {
    if (close) {
      if (open.pop() !== name) return false;
    } else if (!attributes!.endsWith("/")) open.push(name!);
  }
  return open.length === 0 && !/&(?!(amp|lt|gt|quot|#\d+);)/.test(xml);
}

describe("lineChart()", () => {
  test("is a Plotly figure of plain data: traces, axis titles, reference lines", () => {
    const figure = lineChart({ ...chart, logX: true });
    expect(JSON.parse(JSON.stringify(figure))).toEqual(figure);
    expect(figure.data.map(({ name, mode, line }) => [name, mode, line.dash])).toEqual([
      ["small <1 M>", "lines", "solid"],
      ["large", "lines+markers", "dash"],
    ]);
    expect(figure.data[0]!.line.color).not.toBe(figure.data[1]!.line.color);
    expect(figure.layout.xaxis).toMatchObject({ title: { text: "compute (FLOPs)" }, type: "log" });
    expect(figure.layout.yaxis.type).toBe("linear");
    expect(figure.layout.shapes[0]).toMatchObject({ y0: 1.69, y1: 1.69, label: { text: "E" } });
  });

  test("leaves a gap where a value is not finite, or not positive on a logarithmic axis", () => {
    const series = [{ name: "a", x: [1, 2, 3, 4], y: [Number.NaN, 0, -1, 2] }];
    expect(lineChart({ ...chart, series }).data[0]!.y).toEqual([null, 0, -1, 2]);
    expect(lineChart({ ...chart, series, logY: true }).data[0]!.y).toEqual([null, null, null, 2]);
  });

  test("refuses a series whose x and y differ in length", () => {
    const series = [{ name: "a", x: [1, 2], y: [1] }];
    expect(() => lineChart({ ...chart, series })).toThrow(/Cannot draw a: it has 2 values of x and 1 of y/);
  });
});

describe("lossCurve()", () => {
  const iter = (step: number, loss: number) => ({ kind: "iter", step, loss });
  const evaluation = { kind: "eval", step: 0, trainLoss: 4.2, valLoss: 4.3 };

  test("draws each step, a smoothed curve, and the evaluations of both splits", () => {
    const records = [{ kind: "start", step: 0 }, evaluation, iter(0, 4.2), iter(1, 4), { kind: "end", step: 2 }];
    const figure = lossCurve(records, { lines: [{ y: 2, label: "trigram" }] });
    expect(figure.data.map(({ name, x }) => [name, x])).toEqual([
      ["training, each step", [0, 1]],
      ["training, smoothed", [0, 1]],
      ["training, evaluated", [0]],
      ["validation", [0]],
    ]);
    expect(figure.layout.yaxis.title.text).toBe("loss (nats per token)");
    expect(figure.layout.shapes).toHaveLength(1);
  });

  test("smooths without bias: constant and falling losses are unchanged, from the first step to the last", () => {
    const falling = Array.from({ length: 500 }, (_, step) => iter(step, 4 - step / 200));
    for (const [i, y] of lossCurve(falling).data[1]!.y.entries()) expect(y).toBeCloseTo(4 - i / 200, 8);
    const constant = lossCurve(Array.from({ length: 500 }, (_, step) => iter(step, 3))).data[1]!.y;
    for (const y of constant) expect(y).toBeCloseTo(3, 10);
  });

  test("smooths noise away, and keeps to the middle of a curve that levels off", () => {
    const loss = (step: number) => 2 + 2.5 * Math.exp(-step / 60);
    const noisy = Array.from({ length: 2000 }, (_, step) => iter(step, loss(step) + 0.1 * (-1) ** step));
    const smoothed = lossCurve(noisy).data[1]!.y;
    for (const [i, y] of smoothed.entries()) expect(Math.abs(y! - loss(i))).toBeLessThan(i < 20 ? 0.101 : 0.03);
  });

  test("thins a long log and keeps its last step; an empty log is an empty figure", () => {
    const { x } = lossCurve(Array.from({ length: 100_000 }, (_, step) => iter(step, 3))).data[0]!;
    expect(x.length).toBeLessThanOrEqual(2001);
    expect(x.at(-1)).toBe(99_999);
    expect(lossCurve([]).data).toEqual([]);
    expect(toSvg(lossCurve([]))).toContain("Loss while training");
  });

  test("continues after a loss that is not a number", () => {
    const { data } = lossCurve([iter(0, 3), iter(1, Number.NaN), iter(2, 3)]);
    expect(data[0]!.y).toEqual([3, null, 3]);
    expect(data[1]!.y).toEqual([3, 3]);
  });
});

describe("toSvg()", () => {
  test("is a well-formed picture of the asked size with title, axis titles and labels, and the same each time", () => {
    const figure = lineChart({ ...chart, logX: true, logY: true });
    const svg = toSvg(figure, { width: 640, height: 360 });
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg).toContain('width="640"');
    for (const text of [
      "Loss &amp; compute",
      "compute (FLOPs)",
      "loss (nats per token)",
      "small &lt;1 M&gt;",
      "E",
      "10¹⁶",
    ]) {
      expect(svg).toContain(`>${text}</text>`);
    }
    expect(isWellFormed(svg)).toBe(true);
    expect(toSvg(figure, { width: 640, height: 360 })).toBe(svg);
  });

  test("moves labels apart and keeps them inside the picture", () => {
    const series = Array.from({ length: 6 }, (_, i) => ({ name: `run ${i}`, x: [0, 1], y: [5, 1 + i / 1000] }));
    const svg = toSvg(lineChart({ ...chart, lines: [], series }), { height: 300 });
    const heights = [...svg.matchAll(/<text x="[\d.]+" y="([\d.]+)" dy[^>]*>run/g)].map(([, y]) => Number(y));
    expect(heights).toHaveLength(6);
    heights
      .sort((a, b) => a - b)
      .forEach((y, i) => {
        if (i > 0) expect(y - heights[i - 1]!).toBeGreaterThanOrEqual(14.9);
        expect(y).toBeLessThan(300);
      });
  });
});

describe("names inside the plot", () => {
  const textOf = (svg: string, name: string) => {
    const [, x, y] = new RegExp(`<text x="([\\d.]+)" y="([\\d.]+)" dy="0.32em"[^>]*>${name}<`).exec(svg)!;
    return { x: Number(x), y: Number(y) };
  };

  test("stay above the axis and its numbers, wherever they were wanted", () => {
    const low = { name: "the lowest", x: [1, 2], y: [2, 0], label: "end" as const, labelSide: "below" as const };
    const series = [low, { name: "wide", x: [1, 9], y: [2, 1.9] }];
    const { y } = textOf(toSvg(lineChart({ ...chart, series, lines: [], yRange: [0, 2] })), "the lowest");
    expect(y + 7.5).toBeLessThanOrEqual(400 - 46);
  });

  test("do not cover another line where there is room beside it", () => {
    const x = Array.from({ length: 60 }, (_, i) => 2 + i / 10);
    const series = [
      { name: "short", x: [1, 2], y: [1, 2], label: "end" as const },
      { name: "through it", x, y: x.map((at) => 2 + (at - 2) / 100) },
    ];
    const { y } = textOf(toSvg(lineChart({ ...chart, series, lines: [], yRange: [0, 4] })), "short");
    expect(Math.abs(y - (44 + (400 - 46 - 44) / 2))).toBeGreaterThan(7.5);
  });

  test("do not overlap where lines end close together", () => {
    const series = [0, 1, 2, 3].map((i) => ({
      ...{ name: `curve ${i}`, x: [1, 5 + 0.01 * i], y: [2, 1 + 0.01 * i], label: "end" as const },
    }));
    const svg = toSvg(
      lineChart({ ...chart, lines: [], series: [...series, { name: "wide", x: [1, 9], y: [2, 1.5] }] }),
    );
    const places = series.map(({ name }) => textOf(svg, name));
    for (const [i, a] of places.entries()) {
      for (const b of places.slice(i + 1)) {
        expect(Math.abs(a.y - b.y) >= 12 || Math.abs(a.x - b.x) >= 46).toBe(true); // seven letters are 46 pixels
      }
    }
  });
});

test("the label of a reference line stands at the line's middle, or where it is wanted", () => {
  const places = [{}, { labelAt: "start" as const }].map((at) => {
    const { layout } = lineChart({ ...chart, lines: [{ y: 2, label: "lowest", ...at }] });
    return layout.shapes[0]!.label.textposition;
  });
  expect(places).toEqual(["middle", "start"]);
});

test("figureWords() says what there is to see: axes, ends and lowest points of lines, reference lines", () => {
  expect(figureWords(lineChart({ ...chart, logX: true }))).toBe(
    "Loss & compute. loss (nats per token) against compute (FLOPs), logarithmic. small <1 M>: from 4 at 10¹⁵ to 2.5 at 10¹⁷; large: from 5 at 10¹⁵ to 2.4 at 10¹⁷; E: a line at 1.69.",
  );
  const series = [
    { name: "a valley", x: [0, 1, 2], y: [3, 1, 2] },
    { name: "dots", x: [0, 1], y: [5, -4], markers: "only" as const },
    { name: "one", x: [7], y: [0.5] },
    { name: "nothing", x: [1], y: [Number.NaN] },
  ];
  const words = figureWords(lineChart({ ...chart, yLabel: "", series, lines: [{ x: 2, label: "end" }] }));
  expect(words).toBe(
    "Loss & compute. compute (FLOPs). a valley: from 3 at 0 to 2 at 2, lowest 1 at 1; dots: 2 points between −4 and 5; one: 0.5 at 7; end: at 2.",
  );
  const many = Array.from({ length: 11 }, (_, i) => ({ name: `run ${i}`, x: [0, 1], y: [1, i] }));
  expect(figureWords(lineChart({ ...chart, series: many }))).toContain("run 7: from 1 at 0 to 7 at 1; and 3 more; E");
});

test("svgImage() holds the picture itself, and its words as alternative text, or those that are given", () => {
  const svg = toSvg(lineChart(chart));
  const [, data, alt] = /^<img src="data:image\/svg\+xml;base64,([^"]*)" alt="([^"]*)">$/.exec(svgImage(svg))!;
  expect(Buffer.from(data!, "base64").toString()).toBe(svg);
  expect(alt).toMatch(/^Loss &amp; compute\. loss .*small &lt;1 M&gt;: from 4 at/);
  expect(svgImage(svg, 'a "b"')).toContain('alt="a &quot;b&quot;"');
});

test("toHtml() is one offline page with Plotly once, whatever the titles hold", () => {
  const hostile = "</script><script>alert(1)</script><!--";
  const html = toHtml([lineChart({ ...chart, title: hostile }), lineChart(chart)], { title: hostile });
  expect(html).not.toContain("<script>alert");
  expect(html.match(/<script/g)).toHaveLength(4); // two figures, Plotly, drawing
  expect(html.match(/<\/script/g)).toHaveLength(4);
  expect(html).not.toMatch(/<(script|link|img|iframe)[^>]*(src|href)="(?!data:)/);
  expect(html).toContain("default-src 'none'");
  expect(html.match(/<noscript><img src="data:image\/svg/g)).toHaveLength(2);
  expect(html.length).toBeLessThan(1.7e6);
});
