"use strict";

// Examples for learners, found in the data of the page. It calls onShow(address, words) for one that is chosen.
const createLessons = ({ content, codes, places, active, decode, limit, name, onShow }) => {
  const { byId } = elements;
  const size = content.latent_dim;
  const total = content.labels.length;
  const SEARCHED = 60; // images, and draws, between or at which a hole is looked for
  const MOST_SEARCHED = 1000; // images whose nearest codes are looked for
  const REACH = 3; // standard deviations of the prior

  const codeOf = (index) => coordinates.codeOf(codes, index, size);
  const nearest = (code, count) => coordinates.nearest(codes, code, active, count);
  const image = (index) => `image=${content.indices[index]}`;
  const pinned = (address) => `pin=${encodeURIComponent(address)}`;

  // The emptiest of the places halfway between two images of different classes, if there are classes.
  function emptiestBetween() {
    const some = content.labels.slice(0, SEARCHED);
    let best = { distance: -1 };
    for (const [from, label] of some.entries()) {
      for (const [to, other] of some.entries()) {
        if (to <= from || (other === label && content.class_names.length > 1)) continue;
        const [{ distance }] = nearest(coordinates.between(codeOf(from), codeOf(to), 0.5, false), 1);
        if (distance > best.distance) best = { from, to, distance };
      }
    }
    const { from, to, distance } = best;
    const ends = distance < 0 ? [] : [from, to].map((index) => encodeURIComponent(image(index)));
    return {
      distance,
      address: `line=0.5&from=${ends[0]}&to=${ends[1]}&pin=${ends[0]}`,
      where: () => `Halfway between ${name(from)}, and ${name(to)}`,
    };
  }

  function emptiestDraw() {
    const draws = Array.from({ length: SEARCHED }, (_, i) => {
      const [{ distance }] = nearest(coordinates.draw(i + 1, size), 1);
      return { distance, address: `draw=${i + 1}`, where: () => `At draw ${i + 1} from the prior` };
    });
    return draws.reduce((best, each) => (each.distance > best.distance ? each : best));
  }

  // A hole between two images, or if there is none, the emptiest of draws from the prior.
  function hole() {
    const percent = ({ distance }) => coordinates.percentNearer(content.percentiles, distance);
    const between = emptiestBetween();
    const found = captions.isEmpty(percent(between)) ? between : emptiestDraw();
    onShow(found.address, captions.hole({ where: found.where(), distance: found.distance, percent: percent(found) }));
  }

  // A dimension that is not active, from one end of the prior to the other.
  function collapsed() {
    const dimension = codeOf(0).findIndex((_, d) => !active.includes(d));
    const [low, high] = [-REACH, REACH].map((value) => codeOf(0).with(dimension, Math.min(value, limit)));
    const [one, other] = [decode(low), decode(high)];
    const change = one.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i])), 0);
    const at = (value) => `${image(0)}&z${dimension}=${value}`;
    onShow(`${at(REACH)}&${pinned(at(-REACH))}`, captions.collapsed({ dimension, change, reach: REACH }));
  }

  // Of images with similar codes, those that are farthest apart on the map.
  function distances() {
    let found = { apart: -1 };
    for (let index = 0; index < Math.min(total, MOST_SEARCHED); index++) {
      const near = nearest(codeOf(index), 2).find((each) => each.index !== index);
      const [x, y] = [0, 1].map((axis) => places[2 * index + axis] - places[2 * near.index + axis]);
      if (Math.hypot(x, y) > found.apart) found = { apart: Math.hypot(x, y), index, near };
    }
    const { index, near } = found;
    const method = content.axes.names[0].split(" ")[0];
    const words = captions.distances({ one: name(near.index), other: name(index), distance: near.distance, method });
    onShow(`${image(index)}&${pinned(image(near.index))}`, words);
  }

  const several = active.length > 0 && total > 2;
  const lessons = {
    hole: [hole, decode && several],
    collapsed: [collapsed, decode && active.length < size],
    distances: [distances, several && /^(t-SNE|UMAP) /.test(content.axes.names[0])],
  };
  for (const [id, [show, possible]] of Object.entries(lessons)) {
    byId(id).hidden = !possible;
    byId(id).addEventListener("click", show);
  }
  byId("try").hidden = !Object.values(lessons).some(([, possible]) => possible);
};
