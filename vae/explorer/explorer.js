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
  const mixes = !content.place_is_code; // the code of a place is averaged over nearby points
  const deviations = content.deviations && decoding.numbers(content.deviations, content.deviations_precision);
  const onLine = content.place_is_code && size === 1;
  // With one latent dimension, the second coordinate only separates classes.
  const compared = onLine ? places.map((value, i) => (i % 2 ? 0 : value)) : places;
  const limit = Math.ceil(10 * codes.reduce((most, value) => Math.max(most, Math.abs(value)), 3)) / 10;
  const GAP = 6; // pixels between small images
  const PAUSE = 500; // milliseconds without a change, after which it is announced and becomes a step of the history

  const { byId, create, theme, shape } = elements;
  byId("tooltip").hidden = true; // it may be shown in a page that has been saved
  byId("legend").replaceChildren();

  // What is shown: the code, the code before sliders changed it, where that came from, and the changed dimensions.
  // Origins: { kind: "image", index }, { kind: "posterior", index, seed }, { kind: "place", place, mixture },
  // { kind: "mean" }, { kind: "draw", seed }.
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
    let absent = "";
    if (origin.kind === "mean" || origin.kind === "draw") absent = "No test image has this code.";
    else if (!hasPicture(origin.index ?? 0)) absent = "To keep this page small, this test image has no picture.";
    canvas.hidden = absent !== "";
    byId("source-absent").hidden = absent === "";
    byId("source-absent").textContent = absent;
    if (origin.index !== undefined) {
      shape(canvas, tileWidth, tileHeight);
      drawImage(pen, origin.index, 0, 0, 1);
    }
    if (origin.kind === "place") {
      const [side, times] = [Math.ceil(Math.sqrt(coordinates.NEIGHBOURS)), Math.ceil(96 / tileWidth)];
      const [across, down] = [times * tileWidth + GAP, times * tileHeight + GAP];
      shape(canvas, side * across - GAP, side * down - GAP);
      const most = Math.max(...origin.mixture.map(({ share }) => share));
      origin.mixture.forEach(({ index, share }, rank) => {
        pen.globalAlpha = decode && mixes ? 0.3 + (0.7 * share) / most : 1;
        drawImage(pen, index, (rank % side) * across, Math.floor(rank / side) * down, times);
      });
    }
  }

  const named = (index) => ({
    number: content.indices[index],
    className: hasClasses ? content.class_names[content.labels[index]] : null,
  });

  // Updates captions at once, and the text for screen readers and the history after a while without changes.
  let pause = null;
  function write() {
    const nearest = origin.index ?? origin.mixture?.[0].index;
    const { decoded, beside, said } = captions.describe({
      kind: origin.kind,
      seed: origin.seed,
      image: nearest === undefined ? null : named(nearest),
      moved: [...moved],
      code: content.place_is_code ? code : null,
      mixed: decode && mixes,
      decodes: decode !== null,
    });
    caption("source", beside);
    if (decode) caption("decoded", decoded);
    const around = neighbourhood?.show(code, origin.kind === "image" && moved.size === 0 ? origin.index : null);
    const all = around?.empty ? `${said}. ${around.words}` : said;
    clearTimeout(pause);
    pause = setTimeout(() => {
      if (byId("status").textContent !== all) byId("status").textContent = all;
      past.record();
    }, PAUSE);
  }

  function caption(id, text) {
    byId(`${id}-caption`).textContent = text;
    byId(id).setAttribute("aria-label", text);
  }

  const nearestCode = () => coordinates.nearestCodes(codes, total, code, nearDimensions, 1)[0].index;

  // If the map shows the latent space, the crosshair is at the code. Otherwise it is where the code came from, or at
  // the test image with the nearest code.
  function placeCrosshair() {
    const place = origin.index !== undefined ? scatter.placeOf(origin.index) : (origin.place ?? null);
    const exact = moved.size === 0 && (origin.kind === "image" || origin.kind === "place");
    if (decode && content.place_is_code) map.point([code[0], onLine ? (place?.[1] ?? 0) : code[1]], true);
    else map.point(place ?? (nearDimensions.length ? scatter.placeOf(nearestCode()) : null), exact);
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
    follow();
    show();
  }

  function follow() {
    sliders?.follow(code, deviations && origin.index !== undefined ? posterior : null);
    if (!decode) return;
    byId("reset").disabled = moved.size === 0;
    if (byId("posterior")) byId("posterior").disabled = origin.index === undefined;
  }

  const posterior = (d) => ({ mean: codes[origin.index * size + d], deviation: deviations[origin.index * size + d] });

  function move(dimension, value) {
    code[dimension] = value;
    moved.add(dimension);
    if (content.place_is_code && origin.kind === "place") origin.mixture = around(code);
    follow();
    show();
  }

  const goToImage = (index) => go({ kind: "image", index }, coordinates.codeOf(codes, index, size));
  const goToMean = () => go({ kind: "mean" }, new Float32Array(size));
  const goToDraw = (seed) => go({ kind: "draw", seed }, coordinates.draw(seed, size));

  function goToPosterior(index, seed) {
    const noise = coordinates.draw(seed, size);
    const mean = coordinates.codeOf(codes, index, size);
    go({ kind: "posterior", index, seed }, mean.map((value, d) => value + deviations[index * size + d] * noise[d]));
  }

  // The points nearest to a place, with their shares.
  function around(place) {
    const at = onLine ? [place[0], 0] : place;
    return coordinates.shares(coordinates.nearest(compared, at, coordinates.NEIGHBOURS));
  }

  function goToPlace(exactPlace) {
    const place = exactPlace.map((value) => Number(value.toPrecision(6))); // as in the address
    const mixture = around(place);
    go({ kind: "place", place, mixture }, mixes ? coordinates.mixedCode(codes, size, mixture) : place.slice(0, size));
  }

  // Goes where an address leads; whether it leads anywhere on this page.
  function goTo(text) {
    const state = address.read(text);
    const index = content.indices.indexOf(state?.number);
    if (!state || (state.number !== undefined && index < 0)) return false;
    if (!decode && state.kind !== "image" && state.kind !== "place") return false;
    if (state.kind === "posterior" && !deviations) return false;
    const visit = {
      image: () => goToImage(index),
      posterior: () => goToPosterior(index, state.seed),
      place: () => goToPlace(state.place),
      draw: () => goToDraw(state.seed),
      mean: goToMean,
    };
    visit[state.kind]();
    for (const [dimension, value] of decode ? state.values : []) {
      if (nearDimensions.includes(dimension)) move(dimension, Math.min(Math.max(value, -limit), limit));
    }
    return true;
  }

  const here = () =>
    address.write({
      kind: origin.kind,
      number: content.indices[origin.index],
      place: origin.place,
      seed: origin.seed,
      values: [...moved].map((dimension) => [dimension, code[dimension]]),
    });

  function fillLegend() {
    byId("legend").hidden = !hasClasses;
    const singled = new Set();
    const present = new Set(content.labels);
    content.class_names.forEach((name, label) => {
      if (!present.has(label)) return;
      const swatch = create("span", { className: "swatch" });
      swatch.style.background = content.colours[label];
      const button = create("button", { type: "button", title: name }, swatch, content.short_names[label]);
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
    const heading = hasClasses ? [create("b", { textContent: className }), create("br")] : [];
    text.replaceChildren(...heading, `test image ${number}`);
    const box = byId("map").getBoundingClientRect();
    const [width, height] = [tooltip.offsetWidth, tooltip.offsetHeight];
    const left = x + 16 + width > box.width ? x - 16 - width : x + 16;
    const top = y + 16 + height > box.height ? y - 16 - height : y + 16;
    tooltip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  }

  const total = content.labels.length;
  const nearDimensions = content.dimensions.map(({ dimension }) => dimension);
  const sliders =
    decode &&
    createSliders({ dimensions: content.dimensions, limit, first: content.first_sliders, onChange: move });
  const past = createPast({ here, goTo });
  const scatter = createScatter({
    places,
    labels: content.labels,
    classNames: content.short_names,
    named: content.named,
    densest: content.densest,
    colours: content.colours,
    axes: content.axes,
  });
  const map = createMap({
    canvas: byId("map"),
    scatter,
    labels: content.labels,
    onPlace: goToPlace,
    onPoint: past.step(goToImage),
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
  const neighbourhood =
    byId("neighbours") &&
    createNeighbourhood({
      codes,
      total,
      dimensions: nearDimensions,
      percentiles: content.percentiles,
      drawImage,
      tile: content.tile,
      name: (index) => captions.named(named(index)),
      onPoint: past.step(goToImage),
    });
  if (decode) {
    let seed = 0;
    const nextSeed = () => (seed = Math.max(seed, origin.seed ?? 0) + 1); // also after that of an address
    byId("mean").addEventListener("click", past.step(goToMean));
    byId("draw").addEventListener("click", past.step(() => goToDraw(nextSeed())));
    byId("posterior")?.addEventListener("click", past.step(() => goToPosterior(origin.index, nextSeed())));
    const reset = () => (origin.kind === "place" ? goToPlace(origin.place) : go(origin, start));
    byId("reset").addEventListener("click", past.step(reset));
  }
  sprite.addEventListener("load", () => {
    if (!goTo(location.hash.slice(1))) goToImage(0);
    past.begin();
  });
  sprite.src = content.sprite;
})();
