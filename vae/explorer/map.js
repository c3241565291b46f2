"use strict";

// The map: a scatter plot on a canvas, and a crosshair moved by pointer and keyboard. It calls:
//   onPlace(place)          when the crosshair moves to a place between points;
//   onPress(place)          when such a place is pressed;
//   onPoint(index)          when it moves to a point;
//   onHover(index, x, y)    when the pointer is over a point, with the point's pixel; onHover(null) when over none.
// Buttons beside the canvas, whose values are those of the keys, zoom it.
const createMap = ({ canvas, scatter, labels, onPlace, onPress, onPoint, onHover }) => {
  const { theme, oncePerFrame, stroke } = elements;
  const REACH = { mouse: 8, pen: 12, touch: 14 }; // pixels around a point within which it is selected
  const GRIP = 32; // pixels around the crosshair within which a touch takes hold of it
  const DRAG = 4; // pixels; a press that moves further is a drag, not a click
  const STEP = 1 / 80; // by which an arrow key moves the crosshair, as a share of the map's width
  const LARGE_STEP = 1 / 12;
  const WHEEL = { line: 0.06, pixel: 0.002 }; // by whose exponential the wheel zooms
  const ZOOM = 1.5; // by which a key or a button zooms
  const ZOOMS = { "+": ZOOM, "=": ZOOM, "-": 1 / ZOOM, 0: 0 };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  const context = canvas.getContext("2d");
  const picture = document.createElement("canvas"); // the scatter plot, which is not redrawn when the crosshair moves
  let [width, height] = [0, 0];
  let singled = new Set(); // highlighted labels; empty means all
  let crosshair = null; // { place, exact }
  let path = []; // places on the way between two codes
  let hovered = null;
  let press = null; // { x, y, dragged } while the only pointer is down
  const pointers = new Map(); // pixels of those that are down, by their numbers
  const zoomers = canvas.parentElement.querySelectorAll(".zoom button");

  const counts = (index) => singled.size === 0 || singled.has(labels[index]);
  const within = (x, y) => [Math.max(0, Math.min(x, width)), Math.max(0, Math.min(y, height))];
  const reach = (event) => REACH[event.pointerType] ?? REACH.mouse;

  // Zooms around a pixel, or moves the map.
  const redraw = oncePerFrame(() => drawPicture());
  function change(move) {
    move();
    hover(null);
    redraw();
  }
  const zoom = (factor, x = width / 2, y = height / 2) => change(() => scatter.zoomAt(x, y, factor));
  const pan = (x, y) => change(() => scatter.pan(x, y));

  function drawPicture() {
    const ratio = window.devicePixelRatio;
    for (const surface of [canvas, picture]) {
      surface.width = Math.round(width * ratio);
      surface.height = Math.round(height * ratio);
      surface.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    scatter.draw(picture.getContext("2d"), counts, singled);
    for (const button of zoomers) button.disabled = ZOOMS[button.value] <= 1 && !scatter.zoomed();
    draw();
  }

  function draw() {
    context.clearRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    if (path.length) drawPath(path.map(scatter.toPixels));
    if (hovered !== null) {
      const around = ring(new Path2D(), scatter.toPixels(scatter.placeOf(hovered)), 7);
      stroke(context, around, theme("ink"), 2);
    }
    if (crosshair) drawCrosshair(scatter.toPixels(crosshair.place));
  }

  function ring(line, [x, y], radius) {
    line.moveTo(x + radius, y);
    line.arc(x, y, radius, 0, 2 * Math.PI);
    return line;
  }

  // A line with dots and the letters A and B at its ends.
  function drawPath(pixels) {
    const line = new Path2D();
    for (const [x, y] of pixels) line.lineTo(x, y);
    for (const pixel of pixels) ring(line, pixel, 2);
    context.lineJoin = "round";
    stroke(context, line, theme("accent"), 3);
    context.font = "600 15px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 5;
    [["A", pixels[0]], ["B", pixels.at(-1)]].forEach(([letter, [x, y]]) => {
      context.strokeStyle = theme("panel");
      const at = [Math.min(x + 16, width - 10), Math.max(y - 12, 14)];
      context.strokeText(letter, ...at);
      context.fillStyle = theme("accent");
      context.fillText(letter, ...at);
    });
  }

  // Dashed if the code has moved away from the place.
  function drawCrosshair([x, y]) {
    const line = ring(new Path2D(), [x, y], 9);
    for (const [across, down] of Object.values(ARROWS)) {
      line.moveTo(x + 9 * across, y + 9 * down);
      line.lineTo(x + 18 * across, y + 18 * down);
    }
    context.setLineDash(crosshair.exact ? [] : [3, 3]);
    stroke(context, line, theme("ink"), 2);
    context.setLineDash([]);
  }

  function hover(index) {
    if (index === hovered) return;
    hovered = index;
    draw();
    onHover(index, ...(index === null ? [] : scatter.toPixels(scatter.placeOf(index))));
  }

  // A touch near the crosshair drags it in any direction, and two fingers move and zoom the map; elsewhere a vertical
  // swipe scrolls the page.
  canvas.addEventListener("touchstart", (event) => {
    const box = canvas.getBoundingClientRect();
    const [{ clientX, clientY }] = event.touches;
    const [x, y] = crosshair ? scatter.toPixels(crosshair.place) : [Infinity, Infinity];
    const held = Math.hypot(clientX - box.x - x, clientY - box.y - y) < GRIP;
    if ((held || event.touches.length > 1) && event.cancelable) event.preventDefault();
  });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    press = pointers.size > 1 ? null : { x: event.offsetX, y: event.offsetY, dragged: false };
    canvas.setPointerCapture(event.pointerId);
  });

  canvas.addEventListener("pointermove", (event) => {
    const { offsetX: x, offsetY: y } = event;
    const before = pointers.get(event.pointerId);
    if (before) pointers.set(event.pointerId, [x, y]);
    if (before && pointers.size > 1) {
      pinch(event.pointerId, before);
      return;
    }
    if (before && event.shiftKey) {
      press = null;
      pan(x - before[0], y - before[1]);
      return;
    }
    if (press && Math.hypot(x - press.x, y - press.y) > DRAG) press.dragged = true;
    if (press?.dragged) {
      hover(null);
      onPlace(scatter.toPlace(...within(x, y)));
    } else if (event.pointerType !== "touch") {
      hover(scatter.pointAt(x, y, reach(event), counts));
    }
  });

  // One of two fingers has moved: the map moves with their middle, and is zoomed as they part.
  function pinch(moved, before) {
    const [other] = [...pointers].filter(([id]) => id !== moved).map(([, pixel]) => pixel);
    const after = pointers.get(moved);
    const distance = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
    const [x, y] = [(after[0] + other[0]) / 2, (after[1] + other[1]) / 2];
    pan((after[0] - before[0]) / 2, (after[1] - before[1]) / 2);
    zoom(distance(after) / distance(before), x, y);
  }

  // With a page that scrolls, the wheel does that, and zooms with Ctrl, as pinching on a touchpad does.
  canvas.addEventListener("wheel", (event) => {
    const { scrollHeight, clientHeight } = document.documentElement;
    if (scrollHeight > clientHeight && !event.ctrlKey) return;
    event.preventDefault();
    const turned = event.deltaY * WHEEL[event.deltaMode === WheelEvent.DOM_DELTA_LINE ? "line" : "pixel"];
    const box = canvas.getBoundingClientRect(); // offsetX is rounded, which would add up over several turns
    zoom(Math.exp(-turned), event.clientX - box.x, event.clientY - box.y);
  });

  canvas.addEventListener("pointerup", (event) => {
    if (!press || press.dragged) return;
    const index = scatter.pointAt(event.offsetX, event.offsetY, reach(event), counts);
    if (index === null) onPress(scatter.toPlace(event.offsetX, event.offsetY));
    else onPoint(index);
  });

  // After a pointer is lifted or the browser takes it, to scroll for example.
  canvas.addEventListener("lostpointercapture", (event) => {
    pointers.delete(event.pointerId);
    press = null;
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("blur", () => hover(null));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const from = crosshair ? within(...scatter.toPixels(crosshair.place)) : [width / 2, height / 2];
    if (event.key in ZOOMS) {
      zoom(ZOOMS[event.key], ...from);
    } else if (event.key in ARROWS) {
      const step = width * (event.shiftKey ? LARGE_STEP : STEP);
      const [across, down] = ARROWS[event.key];
      const wanted = [from[0] + step * across, from[1] + step * down];
      const to = within(...wanted);
      const [beyondX, beyondY] = [wanted[0] - to[0], wanted[1] - to[1]];
      if (scatter.zoomed() && (beyondX || beyondY)) pan(-beyondX, -beyondY);
      onPlace(scatter.toPlace(...to));
      hover(scatter.pointAt(...to, REACH.mouse, counts));
    } else if (event.key === "Enter" || event.key === " ") {
      const index = scatter.pointAt(...from, Infinity, counts);
      onPoint(index);
      hover(index);
    } else if (event.key === "Escape") {
      hover(null);
    } else {
      return;
    }
    event.preventDefault();
  });

  function resize() {
    ({ width, height } = canvas.getBoundingClientRect());
    hover(null);
    scatter.fit(width, height);
    drawPicture();
  }
  resize();
  new ResizeObserver(resize).observe(canvas);
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"]) {
    matchMedia(query).addEventListener("change", drawPicture);
  }

  for (const button of zoomers) button.addEventListener("click", () => zoom(ZOOMS[button.value]));

  return {
    // Puts the crosshair at a place, dashed unless it is exactly the code's; null removes the crosshair.
    point(place, exact) {
      crosshair = place && { place, exact };
      draw();
    },
    redraw,
    // Draws a path through places; none if there are no places.
    follow(places) {
      path = places;
      draw();
    },
    // Highlights the classes with these labels; an empty set highlights all.
    single(chosen) {
      singled = new Set(chosen);
      hover(null);
      redraw();
    },
  };
};
