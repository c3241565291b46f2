"use strict";

// What is shown, as the part of the page's address behind "#", such as "image=103&z3=1.25". Does not depend on the
// page.
//
// A state is { kind, number, place, seed, share, spherical, of, from, to, values, pin, way }: the kind of origin
// ("image", "place", "mean", "draw", "posterior", "between" or "sum"), the number of the test image, the place on the
// map, the seed of a draw, and [dimension, value] of moved sliders. Between two codes, from and to, which are addresses
// themselves, share is how far it is from the one to the other. A sum is the code of the address `of`, plus the change
// from the one to the other. pin is the address of the pinned code or null, and way is "straight" or "spherical".
const address = (() => {
  const FARTHEST = 1e6; // from the middle of the map, where distances still differ

  function write({ kind, number, place, seed, share, spherical, of, from, to, values, pin, way }) {
    const ends = `from=${nested(from)}&to=${nested(to)}`;
    const origin = {
      image: `image=${number}`,
      posterior: `image=${number}&draw=${seed}`,
      place: `place=${place}`,
      draw: `draw=${seed}`,
      mean: "mean",
      between: `${spherical ? "arc" : "line"}=${share}&${ends}`,
      sum: `sum=${nested(of)}&${ends}`,
    }[kind];
    const moved = values.map(([dimension, value]) => `z${dimension}=${Number(value.toFixed(4))}`);
    const pinned = pin ? [`pin=${nested(pin)}`, ...(way === "spherical" ? ["way=spherical"] : [])] : [];
    return [origin, ...moved, ...pinned].join("&");
  }

  const nested = (text) => encodeURIComponent(text ?? "");

  // The state, or null if the text is not one.
  function read(text) {
    const parts = new URLSearchParams(text);
    const origin = readOrigin(parts);
    if (!origin) return null;
    const values = [...parts]
      .filter(([name, value]) => /^z\d{1,9}$/.test(name) && value !== "" && Number.isFinite(Number(value)))
      .map(([name, value]) => [Number(name.slice(1)), Number(value)]);
    const way = parts.get("way") === "spherical" ? "spherical" : "straight";
    return { ...origin, values, pin: parts.get("pin"), way };
  }

  function readOrigin(parts) {
    const natural = (name) => (/^\d{1,9}$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : null);
    const [number, seed] = [natural("image"), natural("draw")];
    const place = (parts.get("place") ?? "").split(",").map(Number);
    if (number !== null) return seed === null ? { kind: "image", number } : { kind: "posterior", number, seed };
    if (seed !== null) return { kind: "draw", seed };
    const onMap = parts.has("place") && place.length === 2 && place.every((value) => Math.abs(value) < FARTHEST);
    if (onMap) return { kind: "place", place };
    const [of, from, to, spherical] = [parts.get("sum"), parts.get("from"), parts.get("to"), parts.has("arc")];
    const share = Number(parts.get(spherical ? "arc" : "line") || NaN);
    if (of && from && to) return { kind: "sum", of, from, to };
    if (share >= 0 && share <= 1 && from && to) return { kind: "between", share, spherical, from, to };
    return parts.has("mean") ? { kind: "mean" } : null;
  }

  return { write, read };
})();
