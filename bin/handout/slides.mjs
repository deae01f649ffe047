/**
 * Runs in the browser: lays a handout out as slides, then starts reveal.js. A section fills as many slides as it needs,
 * one below the other. Code stands with the text before it, its outputs with the text after them. What does not fit
 * below that begins the next slide. Outputs that are too high for a slide are made smaller; what is then still too high
 * is divided between slides, and scrolls if it cannot be.
 */
const { Reveal } = /** @type {{ Reveal: typeof import("reveal.js").default }} */ (/** @type {unknown} */ (globalThis));

/** How much pictures grow and shrink, if there is room for them. */
const zooms = [1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7];

/** @param {HTMLElement} section */
function layOut(section) {
  zoomPictures(section, zooms[0] ?? 1);
  const units = inUnits([...section.children].flatMap((cell) => [...cell.children]));
  section.replaceChildren();
  let slide = open();
  for (const unit of units) place(unit);

  function open() {
    const next = document.createElement("section");
    next.className = "slide";
    if (section.childElementCount > 0 && section.dataset.title) {
      const of = document.createElement("p");
      of.className = "of";
      of.textContent = section.dataset.title;
      next.append(of);
    }
    section.append(next);
    return next;
  }

  /** @param {Element[]} unit */
  function place(unit) {
    const isFirst = !slide.querySelector(":scope > :not(.of)");
    slide.append(...unit);
    if (fits(slide)) return;
    if (!isFirst) {
      slide = open();
      slide.append(...unit);
    }
    if (fits(slide) || shrink(slide)) return;
    if (unit.length > 1) {
      for (const part of unit) part.remove();
      for (const part of unit) place([part]);
    } else {
      slide.classList.add("tall");
      slide.setAttribute("tabindex", "0");
    }
  }
}

/**
 * What should stay together: text up to code, code, outputs and the text after them.
 * @param {Element[]} parts
 */
function inUnits(parts) {
  /** @type {Element[][]} */
  const units = [];
  let isCode = true;
  for (const part of parts) {
    const wasCode = isCode;
    isCode = part.matches(".source");
    if (isCode || wasCode) units.push([]);
    units.at(-1)?.push(part);
  }
  return units;
}

/** @param {Element} slide */
const fits = (slide) =>
  slide.scrollHeight <= slide.clientHeight &&
  [...slide.querySelectorAll(".beside .output")].every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth);

/**
 * Makes the pictures of a slide as large as they may be, and sets the words beside them if that leaves them larger;
 * false if the slide is too high even so.
 * @param {HTMLElement} slide
 */
function shrink(slide) {
  const fitsAt = (/** @type {number} */ zoom) => {
    zoomPictures(slide, zoom);
    return fits(slide);
  };
  if (zooms.filter((zoom) => zoom >= 1).some(fitsAt)) return true;
  const parts = [...slide.querySelectorAll(":scope > :not(.of)")];
  const outputs = parts.filter((part) => part.matches(".output"));
  if (outputs.length > 0 && parts.length > outputs.length) {
    const beside = document.createElement("div");
    beside.className = "beside";
    const [left, right] = [document.createElement("div"), document.createElement("div")];
    left.append(...outputs);
    right.append(...parts.filter((part) => !outputs.includes(part)));
    beside.append(left, right);
    slide.append(beside);
    if (zooms.some(fitsAt)) return true;
    beside.remove();
    slide.append(...parts);
  }
  return zooms.some(fitsAt);
}

/**
 * Plotly finds the mouse only in a figure that is not zoomed.
 * @param {HTMLElement} place
 * @param {number} zoom
 */
function zoomPictures(place, zoom) {
  /** @type {NodeListOf<HTMLElement>} */
  const pictures = place.querySelectorAll(".output:not(:has(.js-plotly-plot))");
  for (const { style } of pictures) style.zoom = String(zoom);
}

/**
 * Scrolls a slide that is too high; at its end, goes on.
 * @param {1 | -1} direction
 */
function scrollOrGo(direction) {
  const slide = Reveal.getCurrentSlide();
  const before = slide.scrollTop;
  slide.scrollBy({ top: direction * 300 });
  if (slide.scrollTop !== before) return;
  if (direction === 1) Reveal.next();
  else Reveal.prev();
}

for (const section of document.querySelectorAll("section")) layOut(section);
document.querySelector(".stage")?.classList.add("reveal");
await Reveal.initialize({
  ...{ width: 1280, height: 720, margin: 0, center: false },
  ...{ hash: true, slideNumber: "c/t", transition: "none", navigationMode: "linear" },
  keyboard: { 38: () => scrollOrGo(-1), 40: () => scrollOrGo(1) },
  keyboardCondition: (/** @type {KeyboardEvent} */ event) => !event.defaultPrevented, // a view has taken the key
});
