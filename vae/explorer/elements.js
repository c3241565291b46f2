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

  return { byId, create, theme, shape };
})();
