"use strict";

// The map: a scatter plot on a canvas, and a crosshair moved by pointer and keyboard. It calls:
//   onPlace(place)          when the crosshair moves to a place between points;
//   onPoint(index)          when it moves to a point;
//   onHover(index, x, y)    when the pointer is over a point, with the point's pixel; onHover(null) when over none.
const createMap = ({ canvas, scatter, labels, theme, onPlace, onPoint, onHover }) => {
  const REACH = { mouse: 8, pen: 12, touch: 14 }; // pixels around a point within which it is selected
  const GRIP = 32; // pixels around the crosshair within which a touch takes hold of it
  const DRAG = 4; // pixels; a press that moves further is a drag, not a click
  const STEP = 1 / 80; // by which an arrow key moves the crosshair, as a share of the map's width
  const LARGE_STEP = 1 / 12;
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  const context = canvas.getContext("2d");
  const picture = document.createElement("canvas"); // the scatter plot, which is not redrawn when the crosshair moves
  let [width, height] = [0, 0];
  let singled = new Set(); // highlighted labels; empty means all
  let crosshair = null; // { place, exact }
  let hovered = null;
  let press = null; // { x, y, dragged } while the pointer is down

  const counts = (index) => singled.size === 0 || singled.has(labels[index]);
  const within = (x, y) => [Math.max(0, Math.min(x, width)), Math.max(0, Math.min(y, height))];
  const reach = (event) => REACH[event.pointerType] ?? REACH.mouse;

  function drawPicture() {
    const ratio = window.devicePixelRatio;
    for (const surface of [canvas, picture]) {
      surface.width = Math.round(width * ratio);
      surface.height = Math.round(height * ratio);
      surface.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    scatter.draw(picture.getContext("2d"), counts, singled);
    draw();
  }

  function draw() {
    context.clearRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    if (hovered !== null) drawRing(scatter.toPixels(scatter.placeOf(hovered)), 7, theme("ink"), 2);
    if (crosshair) drawCrosshair(scatter.toPixels(crosshair.place));
  }

  function drawRing([x, y], radius, colour, thickness) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.stroke();
  }

  // With a rim in the colour of the ground, to stand out from any point. Dashed if the code has moved away from the place.
  function drawCrosshair([x, y]) {
    context.setLineDash(crosshair.exact ? [] : [3, 3]);
    for (const [colour, thickness] of [["panel", 5], ["ink", 2]]) {
      drawRing([x, y], 9, theme(colour), thickness);
      context.beginPath();
      for (const [across, down] of Object.values(ARROWS)) {
        context.moveTo(x + 9 * across, y + 9 * down);
        context.lineTo(x + 18 * across, y + 18 * down);
      }
      context.stroke();
    }
    context.setLineDash([]);
  }

  function hover(index) {
    if (index === hovered) return;
    hovered = index;
    draw();
    onHover(index, ...(index === null ? [] : scatter.toPixels(scatter.placeOf(index))));
  }

  // A touch near the crosshair drags it in any direction; elsewhere a vertical swipe scrolls the page.
  canvas.addEventListener("touchstart", (event) => {
    const box = canvas.getBoundingClientRect();
    const [{ clientX, clientY }] = event.touches;
    const [x, y] = crosshair ? scatter.toPixels(crosshair.place) : [Infinity, Infinity];
    if (Math.hypot(clientX - box.x - x, clientY - box.y - y) < GRIP) event.preventDefault();
  });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    press = { x: event.offsetX, y: event.offsetY, dragged: false };
    canvas.setPointerCapture(event.pointerId);
  });

  canvas.addEventListener("pointermove", (event) => {
    const { offsetX: x, offsetY: y } = event;
    if (press && Math.hypot(x - press.x, y - press.y) > DRAG) press.dragged = true;
    if (press?.dragged) {
      hover(null);
      onPlace(scatter.toPlace(...within(x, y)));
    } else if (event.pointerType !== "touch") {
      hover(scatter.pointAt(x, y, reach(event), counts));
    }
  });

  canvas.addEventListener("pointerup", (event) => {
    if (press && !press.dragged) {
      const index = scatter.pointAt(event.offsetX, event.offsetY, reach(event), counts);
      if (index === null) onPlace(scatter.toPlace(event.offsetX, event.offsetY));
      else onPoint(index);
    }
    press = null;
  });

  canvas.addEventListener("pointercancel", () => (press = null));
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("blur", () => hover(null));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const from = crosshair ? scatter.toPixels(crosshair.place) : [width / 2, height / 2];
    if (event.key in ARROWS) {
      const step = width * (event.shiftKey ? LARGE_STEP : STEP);
      const [across, down] = ARROWS[event.key];
      const to = within(from[0] + step * across, from[1] + step * down);
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

  return {
    // Puts the crosshair at a place, dashed unless it is exactly the code's; null removes the crosshair.
    point(place, exact) {
      crosshair = place && { place, exact };
      draw();
    },
    // Highlights the classes with these labels; an empty set highlights all.
    single(chosen) {
      singled = new Set(chosen);
      hover(null);
      drawPicture();
    },
  };
};
