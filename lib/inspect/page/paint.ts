/** Pictures from pixels in a browser, by a canvas. */
import { setPainter } from "./parts/scale.js";

let shared: CanvasRenderingContext2D | undefined;

/** One canvas for all pictures, kept in main memory: reading a picture back from a graphics card takes longer than drawing it. */
function context(): CanvasRenderingContext2D | undefined {
  shared ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }) ?? undefined;
  return shared;
}

setPainter((pixels, width, height) => {
  const drawing = context();
  if (!drawing) return "";
  const { canvas } = drawing;
  canvas.width = width;
  canvas.height = height;
  drawing.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  return canvas.toDataURL();
});
