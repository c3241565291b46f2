"use strict";

// Finds, makes and colours the page's elements.
const elements = (() => {
  const byId = (id) => document.getElementById(id);

  function create(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // A colour of the page by its name, as it is now: light, dark or forced.
  const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // Sets the size of a canvas in pixels, which also clears it.
  const shape = (canvas, width, height) => Object.assign(canvas, { width, height });

  // A function that runs an action in the next frame, once, no matter how often it is called before.
  function oncePerFrame(action) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        action();
      });
    };
  }

  // Strokes a line on a canvas, with a rim in the colour of the ground, so that it stands out from any other.
  function stroke(pen, line, colour, thickness) {
    for (const [style, width] of [[theme("panel"), 2 * thickness], [colour, thickness]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.stroke(line);
    }
  }

  return { byId, create, theme, shape, oncePerFrame, stroke };
})();
