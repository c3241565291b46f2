"use strict";

// From addresses to origins, which say where a code comes from, and to codes. Does not depend on the page.
//
// Origins: { kind: "image", index }, { kind: "posterior", index, seed }, { kind: "place", place, mixture },
// { kind: "mean" }, { kind: "draw", seed }, { kind: "between", share, spherical, from, to } and { kind: "sum", of,
// from, to, index } (see address.js), where index is that of the test image to whose code something is added, if any.
//
// What is shown is { origin, start, code, moved, pin, way }: sliders have moved some dimensions, a set, from the start
// to the code; pin is the address of the pinned code or null; the way from that to the code is "straight" or
// "spherical".
const createOrigins = ({ content, codes, places, deviations, decode, limit }) => {
  const size = content.latent_dim;
  const mixes = !content.place_is_code; // the code of a place is averaged over nearby points
  const onLine = content.place_is_code && size === 1;
  const compared = onLine ? [0] : [0, 1]; // with one latent dimension, the second coordinate only separates classes

  // The points nearest to a place, with their shares.
  const around = ([x, y = 0]) =>
    coordinates.shares(coordinates.nearest(places, [x, y], compared, coordinates.NEIGHBOURS));

  function atPlace(exactPlace) {
    const place = exactPlace.map((value) => Number(value.toPrecision(6))); // as in the address
    return { kind: "place", place, mixture: around(place) };
  }

  const sum = (of, from, to) => ({ kind: "sum", of, from, to, index: indexOf(address.read(of)?.number) });

  // The index of the test image with a number; undefined if there is none.
  function indexOf(number) {
    const index = content.indices.indexOf(number);
    return index < 0 ? undefined : index;
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
        return mixes ? coordinates.mixed(codes, size, origin.mixture) : origin.place.slice(0, size);
      case "draw":
        return noise;
      case "between": {
        const [from, to] = [find(origin.from), find(origin.to)];
        return from && to && coordinates.between(from.code, to.code, origin.share, origin.spherical);
      }
      case "sum": {
        const [of, from, to] = [find(origin.of), find(origin.from), find(origin.to)];
        return of && from && to && of.code.map((value, d) => value + to.code[d] - from.code[d]);
      }
      default:
        return new Float32Array(size);
    }
  }

  function originOf({ kind, number, place, values, pin, way, ...others }) {
    const index = indexOf(number);
    if (number !== undefined && index === undefined) return null;
    if ((!decode && kind !== "image" && kind !== "place") || (kind === "posterior" && !deviations)) return null;
    if (kind === "place") return atPlace(place);
    return kind === "sum" ? sum(others.of, others.from, others.to) : { kind, index, ...others };
  }

  // What an address leads to, or null if it leads nowhere on this page.
  function find(text) {
    const state = address.read(text);
    const origin = state && originOf(state);
    const found = origin && codeOf(origin);
    if (!found) return null;
    const code = Float32Array.from(found);
    const values = decode ? state.values.filter(([dimension]) => dimension < size) : [];
    for (const [dimension, value] of values) code[dimension] = Math.min(Math.max(value, -limit), limit);
    const pin = decode && state.pin && find(state.pin) ? state.pin : null;
    const moved = new Set(values.map(([dimension]) => dimension));
    return { origin, start: Float32Array.from(found), code, moved, pin, way: state.way };
  }

  const write = ({ origin, moved, code, pin, way }) =>
    address.write({
      ...origin,
      number: content.indices[origin.index],
      values: [...moved].map((dimension) => [dimension, code[dimension]]),
      pin,
      way,
    });

  // The address of a code, without what is pinned.
  const own = (shown) => write({ ...shown, pin: null });

  return { around, atPlace, sum, codeOf, find, write, own, mixes, onLine };
};
