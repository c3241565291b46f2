"use strict";

// What can be laid over the dots of the map: contours of the classes' density, and draws from the prior. placeOf(code,
// rank) gives the place of a draw. It calls onChange() when something else is to be drawn.
const createOverlays = ({ content, placeOf, onChange }) => {
  const ARM = 3.5; // pixels from the middle of a cross
  const NEAR = 8; // pixels around a draw within which it is pressed
  const { byId, theme, stroke } = elements;
  const possible = { contours: content.contours.some((lines) => lines.length), draws: content.dimensions.length > 0 };
  const names = Object.keys(possible);
  let shown = new Set();
  let places = []; // of draws

  for (const name of names) byId(`show-${name}`).hidden = !possible[name];
  const toggles = createToggles({
    name: "show",
    buttons: new Map(names.filter((name) => possible[name]).map((name) => [name, byId(`show-${name}`)])),
    onChange(chosen) {
      shown = chosen;
      for (const name of names) byId(`${name}-note`).hidden = !shown.has(name);
      if (shown.has("draws") && !places.length) {
        places = Array.from({ length: content.draws }, (_, i) => placeOf(coordinates.draw(i + 1, content.latent_dim), i));
      }
      onChange();
    },
  });

  return {
    ...toggles,
    draw(pen, toPixels, classes, colourOf) {
      for (const label of shown.has("contours") ? classes : []) {
        const line = new Path2D();
        for (const flat of content.contours[label]) {
          for (let i = 0; i < flat.length; i += 2) line[i ? "lineTo" : "moveTo"](...toPixels([flat[i], flat[i + 1]]));
        }
        stroke(pen, line, colourOf(label), 1.5);
      }
      const crosses = new Path2D();
      for (const [x, y] of shown.has("draws") ? places.map(toPixels) : []) {
        for (const side of [-ARM, ARM]) {
          crosses.moveTo(x - ARM, y - side);
          crosses.lineTo(x + ARM, y + side);
        }
      }
      stroke(pen, crosses, theme("ink"), 1.5);
    },
    // The origin of the draw at a place, or null.
    at(place, toPixels) {
      const [x, y] = toPixels(place);
      const near = ([otherX, otherY]) => Math.hypot(otherX - x, otherY - y) < NEAR;
      const rank = shown.has("draws") ? places.map(toPixels).findIndex(near) : -1;
      return rank < 0 ? null : { kind: "draw", seed: rank + 1 };
    },
  };
};
