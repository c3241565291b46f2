"use strict";

// From addresses to origins, which say where a code comes from, and to codes. Does not depend on the page.
//
// Origins: { kind: "image", index }, { kind: "posterior", index, seed }, { kind: "place", place, mixture },
// { kind: "mean" }, { kind: "draw", seed }, { kind: "between", share, spherical, from, to } (see address.js).
const createOrigins = ({ content, codes, places, deviations, limit, decodes }) => {
  const size = content.latent_dim;
  const mixes = !content.place_is_code; // the code of a place is averaged over nearby points
  const onLine = content.place_is_code && size === 1;
  // With one latent dimension, the second coordinate only separates classes.
  const compared = onLine ? places.map((value, i) => (i % 2 ? 0 : value)) : places;

  // The points nearest to a place, with their shares.
  function around(place) {
    const at = onLine ? [place[0], 0] : place;
    return coordinates.shares(coordinates.nearest(compared, at, coordinates.NEIGHBOURS));
  }

  function atPlace(exactPlace) {
    const place = exactPlace.map((value) => Number(value.toPrecision(6))); // as in the address
    return { kind: "place", place, mixture: around(place) };
  }

  // The code of an origin, or null if an address in it leads nowhere.
  function codeOf(origin) {
    const noise = origin.seed === undefined ? null : coordinates.draw(origin.seed, size);
    const mean = origin.index === undefined ? null : coordinates.codeOf(codes, origin.index, size);
    switch (origin.kind) {
      case "image":
        return mean;
      case "posterior":
        return mean.map((value, d) => value + deviations[origin.index * size + d] * noise[d]);
      case "place":
        return mixes ? coordinates.mixedCode(codes, size, origin.mixture) : origin.place.slice(0, size);
      case "draw":
        return noise;
      case "between": {
        const [from, to] = [find(origin.from), find(origin.to)];
        return from && to && coordinates.between(from.code, to.code, origin.share, origin.spherical);
      }
      default:
        return new Float32Array(size);
    }
  }

  function originOf(state) {
    const index = content.indices.indexOf(state.number);
    if (state.number !== undefined && index < 0) return null;
    if (!decodes && state.kind !== "image" && state.kind !== "place") return null;
    const { kind, seed, share, spherical, from, to } = state;
    const origins = {
      image: { kind, index },
      posterior: deviations ? { kind, index, seed } : null,
      draw: { kind, seed },
      mean: { kind },
      between: { kind, share, spherical, from, to },
    };
    return kind === "place" ? atPlace(state.place) : origins[kind];
  }

  // What an address leads to, { origin, start, code, moved, pin, way }, where sliders have moved some dimensions from
  // the start to the code, or null if it leads nowhere on this page.
  function find(text) {
    const state = address.read(text);
    const origin = state && originOf(state);
    const found = origin && codeOf(origin);
    if (!found) return null;
    const code = Float32Array.from(found);
    const values = decodes ? state.values.filter(([dimension]) => dimension < size) : [];
    for (const [dimension, value] of values) code[dimension] = Math.min(Math.max(value, -limit), limit);
    const pin = decodes && state.pin && find(state.pin) ? state.pin : null;
    const moved = new Set(values.map(([dimension]) => dimension));
    return { origin, start: Float32Array.from(found), code, moved, pin, way: state.way };
  }

  const write = (origin, moved, code, pin = null, way = "straight") =>
    address.write({
      ...origin,
      number: content.indices[origin.index],
      values: [...moved].map((dimension) => [dimension, code[dimension]]),
      pin,
      way,
    });

  return { around, atPlace, codeOf, find, write, mixes, onLine };
};
