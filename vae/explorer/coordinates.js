"use strict";

// From places on the map to images and codes. A place is a pair of coordinates. Does not depend on the page.
const coordinates = (() => {
  const NEIGHBOURS = 9; // points whose codes are averaged for a place between them

  // The `count` points nearest to a place among those for which `counts` is true, nearest first: [{ index, distance }].
  function nearest(places, [x, y], count, counts = () => true) {
    const found = [];
    for (let index = 0; 2 * index < places.length; index++) {
      if (!counts(index)) continue;
      const distance = Math.hypot(places[2 * index] - x, places[2 * index + 1] - y);
      if (found.length === count && distance >= found[count - 1].distance) continue;
      if (found.length === count) found.pop();
      let at = found.length;
      while (at > 0 && found[at - 1].distance > distance) at--;
      found.splice(at, 0, { index, distance });
    }
    return found;
  }

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

  // Round numbers that divide a range into a handful of parts.
  function ticks(low, high) {
    const rough = (high - low) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const first = Math.ceil(low / step);
    const count = Math.floor(high / step) - first + 1;
    return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }

  return { NEIGHBOURS, nearest, shares, codeOf, mixedCode, ticks };
})();
