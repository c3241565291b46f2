"use strict";

// The tooltip of a dot on the map: the test image, its class and its number.
const createTooltip = ({ tooltip, pictures, tileHeight, naming }) => {
  const { create } = elements;
  const TALL = 72; // pixels
  tooltip.hidden = true; // it may be shown in a page that has been saved

  // Shows the tooltip of a test image beside a pixel of the map; null hides it.
  return function show(index, x, y) {
    tooltip.hidden = index === null;
    if (index === null) return;
    const [canvas, text] = tooltip.children;
    canvas.hidden = !pictures.has(index);
    pictures.showTest(canvas, index, Math.ceil(TALL / tileHeight));
    const { number, className } = naming(index);
    const heading = className === null ? [] : [create("b", { textContent: className }), create("br")];
    text.replaceChildren(...heading, `test image ${number}`);
    const box = tooltip.parentElement.getBoundingClientRect();
    const [width, height] = [tooltip.offsetWidth, tooltip.offsetHeight];
    const left = x + 16 + width > box.width ? x - 16 - width : x + 16;
    const top = y + 16 + height > box.height ? y - 16 - height : y + 16;
    tooltip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  };
};
