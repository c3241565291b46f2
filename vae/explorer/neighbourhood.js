"use strict";

// The test images whose codes are nearest to a code, as buttons, and how far they are. It calls onPoint(index) for a
// button that is pressed.
const createNeighbourhood = ({ codes, total, dimensions, percentiles, pictures, name, onPoint }) => {
  const COUNT = 5;
  const { byId, create } = elements;
  let shown = []; // [{ index, distance }]

  const buttons = Array.from({ length: Math.min(COUNT, total - 1) }, (_, rank) => {
    const [canvas, text] = [create("canvas", {}), create("span", {})];
    const button = create("button", { type: "button" }, canvas, text);
    button.addEventListener("click", () => onPoint(shown[rank].index));
    return { button, canvas, text };
  });
  byId("neighbours").replaceChildren(...buttons.map(({ button }) => button));

  // Shows the neighbours of a code. `own` is the test image whose code it is, if it is one. Returns whether there are
  // hardly any codes around, and the words that say so.
  function show(code, own) {
    const found = coordinates.nearestCodes(codes, total, code, dimensions, buttons.length + 1);
    shown = found.filter(({ index }) => index !== own).slice(0, buttons.length);
    shown.forEach(({ index, distance }, rank) => {
      const { button, canvas, text } = buttons[rank];
      pictures.showTest(canvas, index);
      text.textContent = distance.toFixed(2);
      button.setAttribute("aria-label", `${name(index)}, distance ${distance.toFixed(2)}`);
      button.title = name(index);
    });
    const { distance } = shown[0];
    const percent = coordinates.percentNearer(percentiles, distance);
    const { empty, words } = captions.nearness({ distance, other: own !== null, percent });
    byId("nearness").textContent = words;
    byId("nearness").className = empty ? "notice" : "note";
    return { empty, words };
  }

  return { show };
};
