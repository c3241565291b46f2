"use strict";

// A row of decoded images, as buttons with a text and a name for screen readers. It calls onPick(position) for one that
// is pressed.
const createStrip = ({ holder, items, decode, pictures, onPick }) => {
  const DELAY = 60; // milliseconds from a change of the codes to the first image
  const { create } = elements;
  const buttons = items.map(({ text, name }, position) => {
    const parts = [create("canvas", {}), create("span", { textContent: text })];
    const button = create("button", { type: "button", ariaLabel: name }, ...parts);
    button.addEventListener("click", () => onPick(position));
    return button;
  });
  holder.replaceChildren(...buttons);

  let codes = [];
  let [next, left, timer] = [0, 0, null]; // the image to draw next, how many are left to draw

  // Draws an image at a time, so that the page responds between them with a slow decoder, too.
  function draw() {
    pictures.show(buttons[next].firstChild, decode(codes[next]));
    next = (next + 1) % buttons.length;
    left -= 1;
    timer = left > 0 ? setTimeout(draw) : null;
  }

  // Shows the images of as many codes, and marks the one at a position; -1 marks none.
  return function show(newCodes, marked) {
    buttons.forEach((button, position) => (button.ariaCurrent = position === marked));
    if (String(newCodes) === String(codes)) return;
    [codes, left] = [newCodes, buttons.length];
    timer ??= setTimeout(draw, DELAY);
  };
};
