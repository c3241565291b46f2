"use strict";

// The page: shows the map, the images and the code, and handles all input.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const [channels, imageHeight, imageWidth] = content.shape;
  const [tileHeight, tileWidth] = content.tile; // of a test image, which may be shrunk
  const hasClasses = content.class_names.length > 1;
  const size = content.latent_dim;
  const codes = decoding.numbers(content.codes, content.precision);
  const places = decoding.numbers(content.places);
  const decode = content.decoder && decoding.decoder(content.decoder);
  const mixes = decode && !content.place_is_code; // the code of a place is averaged over nearby points
  const onLine = content.place_is_code && size === 1;
  // With one latent dimension, the second coordinate only separates classes.
  const compared = onLine ? places.map((value, i) => (i % 2 ? 0 : value)) : places;
  const limit = Math.ceil(10 * codes.reduce((most, value) => Math.max(most, Math.abs(value)), 3)) / 10;
  const GAP = 6; // pixels between small images
  const PAUSE = 500; // milliseconds without a change, after which screen readers announce it

  const SIDEWAYS = 8; // pixels by which a touch on a slider moves before it changes the slider
  const THUMB = 18; // pixels of a slider's thumb

  const byId = (id) => document.getElementById(id);
  const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // If this is a saved page, these have been filled before.
  for (const id of ["sliders", "legend"]) byId(id)?.replaceChildren();
  byId("tooltip").hidden = true;

  // What is shown: the code, the code before sliders changed it, where that came from, and the changed dimensions.
  // Origins: { kind: "image", index }, { kind: "place", place, mixture }, { kind: "mean" }, { kind: "draw" }.
  let code = new Float32Array(size);
  let start = code;
  let origin = null;
  let moved = new Set();

  const sprite = new Image();

  const hasPicture = (index) => index < content.pictures; // the page may be too small for all

  // Draws a test image on a canvas at x and y, enlarged `times` times; a frame if it has no picture.
  function drawImage(pen, index, x, y, times) {
    if (!hasPicture(index)) {
      pen.strokeStyle = theme("edge");
      pen.strokeRect(x + 0.5, y + 0.5, times * tileWidth - 1, times * tileHeight - 1);
      return;
    }
    const left = (index % content.columns) * tileWidth;
    const top = Math.floor(index / content.columns) * tileHeight;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sprite, left, top, tileWidth, tileHeight, x, y, times * tileWidth, times * tileHeight);
  }

  // Sets the size of a canvas in pixels, which also clears it.
  const shape = (canvas, width, height) => Object.assign(canvas, { width, height });

  function drawDecoded() {
    const canvas = byId("decoded");
    shape(canvas, imageWidth, imageHeight);
    const pen = canvas.getContext("2d");
    const image = decode(code);
    const picture = pen.createImageData(imageWidth, imageHeight);
    const pixels = imageWidth * imageHeight;
    for (let pixel = 0; pixel < pixels; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        // The array is clamped: it rounds values and limits them to 0 to 255.
        picture.data[4 * pixel + channel] = 255 * image[(channels === 3 ? channel * pixels : 0) + pixel];
      }
      picture.data[4 * pixel + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
  }

  // Draws the image that the code came from, or the nearest images in a small grid.
  function drawSource() {
    const canvas = byId("source");
    const pen = canvas.getContext("2d");
    const absent = {
      image: hasPicture(origin.index) ? "" : "To keep this page small, this test image has no picture.",
      place: "",
    }[origin.kind] ?? "No test image has this code.";
    canvas.hidden = absent !== "";
    byId("source-absent").hidden = absent === "";
    byId("source-absent").textContent = absent;
    if (origin.kind === "image") {
      shape(canvas, tileWidth, tileHeight);
      drawImage(pen, origin.index, 0, 0, 1);
    }
    if (origin.kind === "place") {
      const [side, times] = [Math.ceil(Math.sqrt(coordinates.NEIGHBOURS)), Math.ceil(96 / tileWidth)];
      const [across, down] = [times * tileWidth + GAP, times * tileHeight + GAP];
      shape(canvas, side * across - GAP, side * down - GAP);
      const most = Math.max(...origin.mixture.map(({ share }) => share));
      origin.mixture.forEach(({ index, share }, rank) => {
        pen.globalAlpha = mixes ? 0.3 + (0.7 * share) / most : 1;
        drawImage(pen, index, (rank % side) * across, Math.floor(rank / side) * down, times);
      });
    }
  }

  const named = (index) => ({
    number: content.indices[index],
    className: hasClasses ? content.class_names[content.labels[index]] : null,
  });

  // Updates captions at once, and the text for screen readers after a while without changes.
  let pause = null;
  function write() {
    const nearest = origin.index ?? origin.mixture?.[0].index;
    const { decoded, beside, said } = captions.describe({
      kind: origin.kind,
      image: nearest === undefined ? null : named(nearest),
      moved: [...moved],
      code: content.place_is_code ? code : null,
      mixed: mixes,
      decodes: decode !== null,
    });
    caption("source", beside);
    if (decode) caption("decoded", decoded);
    clearTimeout(pause);
    pause = setTimeout(() => {
      if (byId("status").textContent !== said) byId("status").textContent = said;
    }, PAUSE);
  }

  function caption(id, text) {
    byId(`${id}-caption`).textContent = text;
    byId(id).setAttribute("aria-label", text);
  }

  // If the map shows the latent space, the crosshair is at the code, otherwise where the code came from.
  function placeCrosshair() {
    const place = origin.kind === "image" ? scatter.placeOf(origin.index) : (origin.place ?? null);
    if (!decode || !content.place_is_code) map.point(place, moved.size === 0);
    else map.point([code[0], onLine ? (place?.[1] ?? 0) : code[1]], true);
  }

  // Draws at most once per frame, no matter how often the code changes.
  let waiting = false;
  function show() {
    placeCrosshair();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (decode) drawDecoded();
      drawSource();
      write();
    });
  }

  function go(newOrigin, newCode) {
    origin = newOrigin;
    code = Float32Array.from(newCode);
    start = code.slice();
    moved = new Set();
    for (const slider of sliders) slider.follow();
    if (decode) byId("undo").disabled = true;
    show();
  }

  const goToImage = (index) => go({ kind: "image", index }, coordinates.codeOf(codes, index, size));

  // The points nearest to a place, with their shares.
  function around(place) {
    const at = onLine ? [place[0], 0] : place;
    return coordinates.shares(coordinates.nearest(compared, at, coordinates.NEIGHBOURS));
  }

  function goToPlace(place) {
    const mixture = around(place);
    go({ kind: "place", place, mixture }, mixes ? coordinates.mixedCode(codes, size, mixture) : place.slice(0, size));
  }

  // A standard normal number, by the Box-Muller method.
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // Creates a row of the list: the dimension with its KL, the slider and its value.
  function createSlider({ dimension, kl }) {
    const id = `z${dimension}`;
    const input = element("input", { type: "range", id, min: -limit, max: limit, step: 0.05 });
    const output = element("output", { htmlFor: id, ariaLive: "off" }); // the slider itself says its value
    const name = element("label", { htmlFor: id }, element("b", { textContent: id }), ` ${kl.toFixed(2)} nats`);
    const row = element("div", { className: "slider" }, name, input, output);
    byId("sliders").append(row);
    const write = () => {
      output.textContent = captions.signed(code[dimension]);
      input.setAttribute("aria-valuetext", captions.signed(code[dimension]));
    };
    const change = () => {
      code[dimension] = Number(input.value);
      moved.add(dimension);
      if (content.place_is_code && origin.kind === "place") origin.mixture = around(code);
      byId("undo").disabled = false;
      write();
      show();
    };
    // Browsers set a slider to where it is touched, even if the touch then scrolls the page.
    let touch = null; // where a touch began and the value before, until it has moved sideways
    input.addEventListener("pointerdown", ({ pointerType, clientX }) => {
      touch = pointerType === "touch" ? { clientX, value: input.value } : null;
    });
    input.addEventListener("pointermove", ({ clientX }) => {
      if (touch && Math.abs(clientX - touch.clientX) > SIDEWAYS) touch = null;
    });
    input.addEventListener("pointercancel", () => (touch = null));
    input.addEventListener("pointerup", ({ clientX }) => {
      if (!touch) return;
      touch = null;
      const { x, width } = input.getBoundingClientRect();
      input.value = limit * ((2 * (clientX - x - THUMB / 2)) / (width - THUMB) - 1);
      change();
    });
    input.addEventListener("input", () => {
      if (touch) input.value = touch.value;
      else change();
    });
    return {
      row,
      id,
      follow() {
        input.value = code[dimension];
        write();
      },
    };
  }

  // Shows the sliders of the dimensions that are looked for, or of the first, or all.
  function chooseSliders() {
    const sought = byId("find").value.trim().toLowerCase();
    const all = byId("all").getAttribute("aria-pressed") === "true";
    const found = (id) => id.startsWith(sought) || id.slice(1).startsWith(sought);
    sliders.forEach(({ row, id }, rank) => (row.hidden = sought ? !found(id) : !all && rank >= content.first_sliders));
    byId("none-found").hidden = sliders.some(({ row }) => !row.hidden);
  }

  function fillLegend() {
    byId("legend").hidden = !hasClasses;
    const singled = new Set();
    const present = new Set(content.labels);
    content.class_names.forEach((name, label) => {
      if (!present.has(label)) return;
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = content.colours[label];
      const button = element("button", { type: "button", title: name }, swatch, content.short_names[label]);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        if (!singled.delete(label)) singled.add(label);
        button.setAttribute("aria-pressed", String(singled.has(label)));
        map.single(singled);
      });
      byId("legend").append(button);
    });
  }

  function showTooltip(index, x, y) {
    const tooltip = byId("tooltip");
    tooltip.hidden = index === null;
    if (index === null) return;
    const [canvas, text] = tooltip.children;
    const times = Math.ceil(72 / tileHeight);
    canvas.hidden = !hasPicture(index);
    shape(canvas, times * tileWidth, times * tileHeight);
    drawImage(canvas.getContext("2d"), index, 0, 0, times);
    const { number, className } = named(index);
    const heading = hasClasses ? [element("b", { textContent: className }), element("br")] : [];
    text.replaceChildren(...heading, `test image ${number}`);
    const box = byId("map").getBoundingClientRect();
    const [width, height] = [tooltip.offsetWidth, tooltip.offsetHeight];
    const left = x + 16 + width > box.width ? x - 16 - width : x + 16;
    const top = y + 16 + height > box.height ? y - 16 - height : y + 16;
    tooltip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  }

  const sliders = decode ? content.dimensions.map(createSlider) : [];
  const scatter = createScatter({
    places,
    labels: content.labels,
    classNames: content.short_names,
    named: content.named,
    densest: content.densest,
    colours: content.colours,
    axes: content.axes,
    theme,
  });
  const map = createMap({
    canvas: byId("map"),
    scatter,
    labels: content.labels,
    theme,
    onPlace: goToPlace,
    onPoint: goToImage,
    onHover: showTooltip,
    onZoom(zoomed) {
      for (const id of ["zoom-out", "whole"]) byId(id).disabled = !zoomed;
    },
  });
  for (const [id, action] of [["zoom-in", map.zoomIn], ["zoom-out", map.zoomOut], ["whole", map.showWhole]]) {
    byId(id).addEventListener("click", action);
    byId(id).disabled = id !== "zoom-in";
  }
  fillLegend();
  if (decode) {
    byId("mean").addEventListener("click", () => go({ kind: "mean" }, new Float32Array(size)));
    byId("draw").addEventListener("click", () => {
      go({ kind: "draw" }, Float32Array.from({ length: size }, normal));
    });
    if (byId("find")) {
      byId("find").addEventListener("input", chooseSliders);
      byId("all").addEventListener("click", ({ currentTarget }) => {
        currentTarget.setAttribute("aria-pressed", String(currentTarget.getAttribute("aria-pressed") !== "true"));
        chooseSliders();
      });
      chooseSliders();
    }
    byId("undo").addEventListener("click", () => {
      if (origin.kind === "place") goToPlace(origin.place);
      else go(origin, start);
    });
  }
  sprite.addEventListener("load", () => goToImage(0));
  sprite.src = content.sprite;
})();
