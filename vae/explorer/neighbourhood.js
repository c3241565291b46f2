"use strict";

// The test images whose codes are nearest to a code, as buttons, and how far they are. It calls onPoint(index) for a
// button that is pressed.
const createNeighbourhood = ({ content, codes, active, pictures, name, onPoint }) => {
  const COUNT = 5;
  const { byId, create } = elements;
  let shown = []; // [{ index, distance }]

  const buttons = Array.from({ length: Math.min(COUNT, content.labels.length - 1) }, (_, rank) => {
    const button = create("button", { type: "button" }, create("canvas", {}), create("span", {}));
    button.addEventListener("click", () => onPoint(shown[rank].index));
    return button;
  });
  byId("neighbours").replaceChildren(...buttons);

  // Shows the neighbours of a code. `own` is the test image whose code it is, if it is one. Returns whether there are
  // hardly any codes around, and the words that say so.
  function show(code, own) {
    const found = coordinates.nearest(codes, code, active, buttons.length + 1);
    shown = found.filter(({ index }) => index !== own).slice(0, buttons.length);
    shown.forEach(({ index, distance }, rank) => {
      const button = buttons[rank];
      pictures.showTest(button.firstChild, index);
      button.lastChild.textContent = distance.toFixed(2);
      button.ariaLabel = `${name(index)}, distance ${distance.toFixed(2)}`;
      button.title = name(index);
    });
    const { distance } = shown[0];
    const percent = coordinates.percentNearer(content.percentiles, distance);
    const { empty, words } = captions.nearness({ distance, other: own !== null, percent });
    byId("nearness").textContent = words;
    byId("nearness").className = empty ? "notice" : "note";
    return { empty, words };
  }

  return { show };
};
