"use strict";

// The scatter plot: scales, axes, points coloured by class, and the names of the classes.
//
// It takes x and y of each point in a flat list, and of the content the points' labels, the names and colours of the
// classes, the labels of the classes to name, the point at which each class is named, and the axes (names; which have
// tick labels; whether both have the same scale; whether classes are rows; the ranges to show). overlay(pen,
// toPixels, classes, colourOf) draws over the points, for some classes in their colours.
const createScatter = ({ labels, short_names: classNames, colours, axes, densest, named }, places, overlay) => {
  const { theme } = elements;
  const FONT = "system-ui, sans-serif";
  const NARROW = 480; // pixels, below which points are small

  const CROWDED = 1500; // points, above which they are drawn smaller
  const MOST_ZOOM = 50;

  let [width, height, size, radius] = [0, 0, 0, 0]; // of the canvas; of points on the whole map, and as it is zoomed
  let margin = null; // pixels that axes and points need on each side
  let whole = null; // { scale, centre }: pixels per unit, and the place in the middle, each for x and y
  let view = null; // the same, zoomed and moved
  let zoom = 1;
  let fill = null; // of a point, instead of the colour of its class

  const placeOf = (index) => [places[2 * index], places[2 * index + 1]];

  const toPixels = ([x, y]) => [
    width / 2 + (x - view.centre[0]) * view.scale[0],
    height / 2 - (y - view.centre[1]) * view.scale[1],
  ];

  const toPlace = (x, y) => [
    view.centre[0] + (x - width / 2) / view.scale[0],
    view.centre[1] - (y - height / 2) / view.scale[1],
  ];

  // Scales everything to a size in pixels, so that all points and the range of the axes are in view.
  function fit(newWidth, newHeight) {
    [width, height] = [newWidth, newHeight];
    size = (width < NARROW ? 3 : 4.5) * Math.min(1, (CROWDED / labels.length) ** 0.25);
    const rim = 2 * size;
    margin = {
      left: (axes.ticks[1] ? 44 : 24) + rim,
      right: rim,
      top: rim,
      bottom: (axes.ticks[0] ? 42 : 24) + rim,
    };
    const room = [width - margin.left - margin.right, height - margin.top - margin.bottom];
    const scale = axes.ranges.map(([low, high], axis) => Math.max(room[axis], 1) / (high - low || 1));
    if (axes.equal) scale.fill(Math.min(...scale));
    const middle = axes.ranges.map(([low, high]) => (low + high) / 2);
    whole = {
      scale,
      centre: [
        middle[0] - (margin.left - margin.right) / 2 / scale[0],
        middle[1] - (margin.bottom - margin.top) / 2 / scale[1],
      ],
    };
    look(view?.centre ?? whole.centre);
  }

  // Sets the place in the middle, as far as the window stays within the whole map.
  function look(centre) {
    const reach = [width / 2 / whole.scale[0], height / 2 / whole.scale[1]].map((half) => half * (1 - 1 / zoom));
    const limited = (value, axis) => {
      const middle = whole.centre[axis];
      return Math.min(Math.max(value, middle - reach[axis]), middle + reach[axis]);
    };
    view = { scale: whole.scale.map((scale) => scale * zoom), centre: centre.map(limited) };
    radius = size * zoom ** 0.25;
  }

  // Zooms in by a factor, or out by its inverse, while the place at a pixel stays there.
  function zoomAt(x, y, factor) {
    const place = toPlace(x, y);
    zoom = Math.min(Math.max(zoom * factor, 1), MOST_ZOOM);
    const [across, down] = whole.scale.map((scale) => scale * zoom);
    look([place[0] - (x - width / 2) / across, place[1] + (y - height / 2) / down]);
  }

  // Moves the map by pixels.
  const pan = (x, y) => look([view.centre[0] - x / view.scale[0], view.centre[1] + y / view.scale[1]]);

  // Draws everything; points of classes that are not highlighted are grey. `singled` has the highlighted labels, if
  // any.
  function draw(pen, counts, singled) {
    drawAxes(pen);
    pen.save();
    pen.beginPath();
    if (zoom > 1) pen.rect(margin.left - 2 * size, 0, width, height - margin.bottom + 2 * size);
    if (zoom > 1) pen.clip();
    drawPoints(pen, counts);
    const shown = singled.size ? [...singled] : named;
    overlay?.(pen, toPixels, shown, (label) => (fill ? theme("ink") : colours[label]));
    pen.restore();
    if (classNames.length > 1) drawNames(pen, counts, shown);
  }

  function drawAxes(pen) {
    pen.font = `12px ${FONT}`;
    pen.fillStyle = theme("soft");
    pen.strokeStyle = theme("grid");
    pen.lineWidth = 1;
    const [left, right, top, bottom] = [margin.left - size, width, 0, height - margin.bottom + size];
    const [lowest, highest] = [toPlace(left, bottom), toPlace(right, top)];
    const label = (tick) => String(tick).replace("-", "\u2212");
    if (axes.ticks[0]) {
      for (const tick of coordinates.ticks(lowest[0], highest[0])) {
        const x = toPixels([tick, 0])[0];
        line(pen, x, top, x, bottom);
        write(pen, label(tick), Math.min(x, width - 12), bottom + 16);
      }
    }
    if (axes.ticks[1]) {
      for (const tick of coordinates.ticks(lowest[1], highest[1])) {
        const y = toPixels([0, tick])[1];
        line(pen, left, y, right, y);
        write(pen, label(tick), left - 6, Math.max(y + 4, 10), "right");
      }
    }
    write(pen, axes.names[0], (left + right) / 2, height - 7);
    pen.save();
    pen.translate(12, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    write(pen, axes.names[1], 0, 0);
    pen.restore();
  }

  function write(pen, text, x, y, align = "center") {
    pen.textAlign = align;
    pen.textBaseline = "alphabetic";
    pen.fillText(text, x, y);
  }

  function line(pen, fromX, fromY, toX, toY) {
    pen.beginPath();
    pen.moveTo(Math.round(fromX) + 0.5, Math.round(fromY) + 0.5);
    pen.lineTo(Math.round(toX) + 0.5, Math.round(toY) + 0.5);
    pen.stroke();
  }

  function circle(pen, index, size) {
    pen.beginPath();
    pen.arc(...toPixels(placeOf(index)), size, 0, 2 * Math.PI);
  }

  function drawPoints(pen, counts) {
    pen.fillStyle = theme("dimmed");
    labels.forEach((_, index) => {
      if (counts(index)) return;
      circle(pen, index, 0.7 * radius);
      pen.fill();
    });
    pen.lineWidth = 0.75;
    pen.strokeStyle = theme("rim");
    labels.forEach((label, index) => {
      if (!counts(index)) return;
      circle(pen, index, radius);
      pen.fillStyle = fill ? fill(index) : colours[label];
      pen.fill();
      pen.stroke();
    });
  }

  // Draws the name of each class where its points lie closest, or at the start of its row, unless a name is there.
  function drawNames(pen, counts, shown) {
    pen.font = `600 14px ${FONT}`;
    const taken = [];
    shown.forEach((label) => {
      const [name, index] = [classNames[label], densest[label]];
      if (index === null || !counts(index)) return;
      const [x, y] = toPixels(placeOf(index));
      if (x < 0 || x > width || y < 0 || y > height) return;
      const box = nameBox(pen.measureText(name).width, axes.rows ? 0 : x, y);
      const covered = ([left, top, across, down]) =>
        box[0] < left + across && left < box[0] + box[2] && box[1] < top + down && top < box[1] + box[3];
      if (taken.some(covered)) return;
      taken.push(box);
      pen.beginPath();
      pen.roundRect(...box, 5);
      pen.globalAlpha = 0.88;
      pen.fillStyle = theme("panel");
      pen.fill();
      pen.globalAlpha = 1;
      pen.strokeStyle = fill ? theme("edge") : colours[label];
      pen.lineWidth = 1.5;
      pen.stroke();
      pen.fillStyle = theme("ink");
      write(pen, name, box[0] + box[2] / 2, box[1] + 16);
    });
  }

  // Left, top, width and height of a name around a pixel, within the plot and clear of the axis label.
  function nameBox(length, x, y) {
    const [across, down] = [length + 12, 22];
    const left = Math.max(24, Math.min(x - across / 2, width - across - 2));
    return [left, Math.max(2, Math.min(y - down / 2, height - down - 2)), across, down];
  }

  // The nearest point within `reach` pixels of a pixel, among those for which `counts` is true, or null.
  function pointAt(x, y, reach, counts) {
    let [best, least] = [null, reach];
    labels.forEach((_, index) => {
      if (!counts(index)) return;
      const [pointX, pointY] = toPixels(placeOf(index));
      const distance = Math.hypot(pointX - x, pointY - y);
      if (distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  const zoomed = () => zoom > 1;

  // Sets the colour of each point, colourOf(index), or with null that of its class.
  const paint = (colourOf) => (fill = colourOf);

  return { fit, paint, draw, zoomAt, pan, zoomed, placeOf, toPixels, toPlace, pointAt };
};
