"use strict";

// From places on the map to images and codes. A place is a pair of coordinates. Does not depend on the page.
const coordinates = (() => {
  const NEIGHBOURS = 9; // points whose codes are averaged for a place between them

  // The `count` indices below `total` with the least distances, nearest first: [{ index, distance }].
  function least(count, total, distanceOf) {
    const found = [];
    for (let index = 0; index < total; index++) {
      const distance = distanceOf(index);
      if (found.length === count && distance >= found[count - 1].distance) continue;
      if (found.length === count) found.pop();
      let at = found.length;
      while (at > 0 && found[at - 1].distance > distance) at--;
      found.splice(at, 0, { index, distance });
    }
    return found;
  }

  // The points nearest to a place on the map.
  const nearest = (places, [x, y], count) =>
    least(count, places.length / 2, (index) => Math.hypot(places[2 * index] - x, places[2 * index + 1] - y));

  // The points whose codes are nearest to a code, by the distance over the given dimensions.
  function nearestCodes(codes, total, code, dimensions, count) {
    return least(count, total, (index) => {
      let square = 0;
      for (const d of dimensions) square += (codes[index * code.length + d] - code[d]) ** 2;
      return Math.sqrt(square);
    });
  }

  // The percentage of distances that are below a distance, from their percentiles.
  const percentNearer = (percentiles, distance) => {
    const above = percentiles.findIndex((percentile) => percentile >= distance);
    return above < 0 ? 100 : above;
  };

  // The weights of the nearest points at a place, which sum to one: by inverse squared distance (Shepard 1968). If the
  // place is on a point, that point has all the weight.
  function shares(neighbours) {
    if (neighbours[0].distance === 0) return [{ index: neighbours[0].index, share: 1 }];
    // Distances relative to the nearest, because squares of tiny distances would vanish.
    const weights = neighbours.map(({ distance }) => (neighbours[0].distance / distance) ** 2);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return neighbours.map(({ index }, rank) => ({ index, share: weights[rank] / total }));
  }

  const codeOf = (codes, index, size) => codes.slice(index * size, (index + 1) * size);

  // The average of the codes of the points nearest to a place, weighted by their shares.
  function mixedCode(codes, size, mixture) {
    const code = new Float64Array(size);
    for (const { index, share } of mixture) {
      for (let d = 0; d < size; d++) code[d] += share * codes[index * size + d];
    }
    return Float32Array.from(code);
  }

  // The average place of points, weighted by their shares.
  const mixedPlace = (places, mixture) =>
    [0, 1].map((axis) => mixture.reduce((sum, { index, share }) => sum + share * places[2 * index + axis], 0));

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

  return {
    NEIGHBOURS,
    nearest,
    nearestCodes,
    percentNearer,
    shares,
    codeOf,
    mixedCode,
    mixedPlace,
    between,
    draw,
    ticks,
  };
})();
