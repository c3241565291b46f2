"use strict";

// What is shown, as the part of the page's address behind "#", such as "image=103&z3=1.25". Does not depend on the
// page.
//
// A state is { kind, number, place, seed, values }: the kind of origin ("image", "place", "mean", "draw" or
// "posterior"), the number of the test image, the place on the map, the seed of a draw, and [dimension, value] of
// moved sliders.
const address = (() => {
  const FARTHEST = 1e6; // from the middle of the map, where distances still differ

  function write({ kind, number, place, seed, values }) {
    const origin = {
      image: `image=${number}`,
      posterior: `image=${number}&draw=${seed}`,
      place: `place=${place}`,
      draw: `draw=${seed}`,
      mean: "mean",
    }[kind];
    return [origin, ...values.map(([dimension, value]) => `z${dimension}=${Number(value.toFixed(4))}`)].join("&");
  }

  // The state, or null if the text is not one.
  function read(text) {
    const parts = new URLSearchParams(text);
    const natural = (name) => (/^\d{1,9}$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : null);
    const [number, seed] = [natural("image"), natural("draw")];
    const place = (parts.get("place") ?? "").split(",").map(Number);
    const values = [...parts]
      .filter(([name, value]) => /^z\d{1,9}$/.test(name) && value !== "" && Number.isFinite(Number(value)))
      .map(([name, value]) => [Number(name.slice(1)), Number(value)]);
    if (number !== null) return { kind: seed === null ? "image" : "posterior", number, seed, values };
    if (seed !== null) return { kind: "draw", seed, values };
    const onMap = parts.has("place") && place.length === 2 && place.every((value) => Math.abs(value) < FARTHEST);
    if (onMap) return { kind: "place", place, values };
    return parts.has("mean") ? { kind: "mean", values } : null;
  }

  return { write, read };
})();
