"use strict";

// From places on the map to images and codes. A place is a pair of coordinates. Does not depend on the page.
const coordinates = (() => {
  const NEIGHBOURS = 9; // points whose codes are averaged for a place between them, or places for a code

  // The `count` rows of a flat list of places or codes that are nearest to one, by the distance over the given
  // dimensions, nearest first: [{ index, distance }].
  function nearest(rows, to, dimensions, count) {
    const found = [];
    const size = to.length;
    for (let index = 0, at = 0; at < rows.length; index++, at += size) {
      let square = 0;
      for (const d of dimensions) square += (rows[at + d] - to[d]) ** 2;
      if (found.length === count && square >= found[count - 1].square) continue;
      if (found.length === count) found.pop();
      const rank = found.findIndex((other) => other.square > square);
      found.splice(rank < 0 ? found.length : rank, 0, { index, square });
    }
    return found.map(({ index, square }) => ({ index, distance: Math.sqrt(square) }));
  }

  // The percentage of distances that are below a distance, from their percentiles.
  const percentNearer = (percentiles, distance) =>
    Math.min(percentiles.filter((percentile) => percentile < distance).length, 100);

  // The weights of the nearest points, which sum to one: by inverse squared distance (Shepard 1968). A point at no
  // distance has all the weight.
  function shares(neighbours) {
    if (neighbours[0].distance === 0) return [{ index: neighbours[0].index, share: 1 }];
    // Distances relative to the nearest, because squares of tiny distances would vanish.
    const weights = neighbours.map(({ distance }) => (neighbours[0].distance / distance) ** 2);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return neighbours.map(({ index }, rank) => ({ index, share: weights[rank] / total }));
  }

  const codeOf = (codes, index, size) => codes.slice(index * size, (index + 1) * size);

  // The average of places (size 2) or codes, weighted by their shares.
  const mixed = (rows, size, mixture) =>
    Array.from({ length: size }, (_, d) =>
      mixture.reduce((sum, { index, share }) => sum + share * rows[index * size + d], 0),
    );

  // The code at a share of the way from one code to another, on a straight line or on an arc, which keeps the length of
  // draws from the prior better (White 2016): sin((1 - t)·Ω) / sin Ω · from + sin(t·Ω) / sin Ω · to, with the angle Ω
  // between the two. If Ω is nearly 0 or π, or a code is zero, the arc is a line.
  const NEARLY_PARALLEL = 1e-4; // sine of Ω
  function between(from, to, share, spherical) {
    const [first, last] = [Math.hypot(...from), Math.hypot(...to)];
    const cosine = from.reduce((sum, value, d) => sum + value * to[d], 0) / (first * last);
    const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
    const curved = spherical && Math.sin(angle) > NEARLY_PARALLEL; // false if a length is zero
    const weight = (t) => (curved ? Math.sin(t * angle) / Math.sin(angle) : t);
    return Float32Array.from(from, (value, d) => weight(1 - share) * value + weight(share) * to[d]);
  }

  // Standard normal numbers, the same for the same seed: the generator mulberry32 and the Box-Muller method.
  function draw(seed, count) {
    let state = Math.imul(seed + 1, 0x9e3779b9);
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    return Float32Array.from({ length: count }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      return radius * Math.cos(2 * Math.PI * uniform());
    });
  }

  // Round numbers that divide a range into a handful of parts.
  function ticks(low, high) {
    const rough = (high - low) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const first = Math.ceil(low / step);
    const count = Math.floor(high / step) - first + 1;
    return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }

  return { NEIGHBOURS, nearest, percentNearer, shares, codeOf, mixed, between, draw, ticks };
})();
