"use strict";

// The strip of decoded images on the way from the pinned code, A, to another, B. It calls onPick(share) for an image
// that is pressed and onWay(way) for "straight" or "spherical".
const createPath = ({ decode, pictures, onPick, onWay }) => {
  const STEPS = 8;
  const DELAY = 60; // milliseconds, at least, between two drawings of the strip, since it takes nine images
  const { byId, create } = elements;
  const ways = ["straight", "spherical"];
  let shown = null; // { from, to, spherical, share }

  const buttons = Array.from({ length: STEPS + 1 }, (_, step) => {
    const text = step === 0 ? "A" : step === STEPS ? "B" : `${step}/${STEPS}`;
    const button = create("button", { type: "button" }, create("canvas", {}), create("span", { textContent: text }));
    button.setAttribute("aria-label", captions.between(step / STEPS));
    button.addEventListener("click", () => onPick(step / STEPS));
    return button;
  });
  byId("strip").replaceChildren(...buttons);
  for (const way of ways) byId(way).addEventListener("click", () => onWay(way));

  const codeAt = (share) => coordinates.between(shown.from, shown.to, share, shown.spherical);

  let timer = null;
  function draw() {
    timer = null;
    if (!shown) return;
    buttons.forEach((button, step) => pictures.show(button.firstChild, decode(codeAt(step / STEPS))));
  }

  return {
    // Shows the way between two codes, of which the code that is shown is at a share; null hides the strip. Returns the
    // codes of the strip.
    show(path) {
      shown = path;
      byId("path").hidden = path === null;
      if (!path) return [];
      ways.forEach((way) => byId(way).setAttribute("aria-pressed", String((way === "spherical") === path.spherical)));
      buttons.forEach((button, step) => button.setAttribute("aria-current", String(step / STEPS === path.share)));
      timer ??= setTimeout(draw, DELAY);
      return buttons.map((_, step) => codeAt(step / STEPS));
    },
  };
};
