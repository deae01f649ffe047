/** Pictures from pixels in a browser, by a canvas. */
import { setPainter } from "./parts/scale.js";

setPainter((pixels, width, height) => {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  return canvas.toDataURL();
});
