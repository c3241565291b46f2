"use strict";

// The page: shows the map, the images and the code, and handles all input.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const hasClasses = content.class_names.length > 1;
  const size = content.latent_dim;
  const total = content.labels.length;
  const codes = decoding.numbers(content.codes, content.precision);
  const places = decoding.numbers(content.places);
  const decode = content.decoder && decoding.decoder(content.decoder);
  const deviations = content.deviations && decoding.numbers(content.deviations, content.deviations_precision);
  const nearDimensions = content.dimensions.map(({ dimension }) => dimension);
  const limit = Math.ceil(10 * codes.reduce((most, value) => Math.max(most, Math.abs(value)), 3)) / 10;
  const PAUSE = 500; // milliseconds without a change, after which it is announced and becomes a step of the history

  const { byId } = elements;

  const sprite = new Image();
  const pictures = createPictures({ content, sprite });
  const origins = createOrigins({ content, codes, places, deviations, limit, decodes: decode !== null });

  const views = createViews({ content, pictures, fades: decode !== null && origins.mixes });

  // What is shown: the code, the code before sliders changed it, where that came from, the changed dimensions, the
  // address of the pinned code or null, and the way between that and the code, "straight" or "spherical".
  let code = new Float32Array(size);
  let start = code;
  let origin = null;
  let moved = new Set();
  let pin = null;
  let way = "straight";
  let lesson = null; // the path, or the address, that it is about
  let news = ""; // to be announced with what is shown

  const named = (index) => ({
    number: content.indices[index],
    className: hasClasses ? content.class_names[content.labels[index]] : null,
  });

  function describe(shown) {
    const nearest = shown.origin.index ?? shown.origin.mixture?.[0].index;
    return captions.describe({
      kind: shown.origin.kind,
      seed: shown.origin.seed,
      share: shown.origin.share,
      image: nearest === undefined ? null : named(nearest),
      moved: [...shown.moved],
      code: content.place_is_code ? shown.code : null,
      mixed: decode && origins.mixes,
      decodes: decode !== null,
    });
  }

  // Updates captions at once, and the text for screen readers and the history after a while without changes.
  let pause = null;
  function write() {
    const { decoded, beside, said } = describe({ origin, code, moved });
    caption("source", beside);
    if (decode) caption("decoded", decoded);
    if (measures) byId("measured").textContent = origin.index === undefined ? "" : measures.words(origin.index);
    const around = neighbourhood?.show(code, origin.kind === "image" && moved.size === 0 ? origin.index : null);
    const all = [news, said, around?.empty ? around.words : ""].filter((words) => words !== "").join(". ");
    clearTimeout(pause);
    pause = setTimeout(() => {
      news = "";
      if (byId("status").textContent !== all) byId("status").textContent = all;
      past.record();
    }, PAUSE);
  }

  function caption(id, text) {
    byId(`${id}-caption`).textContent = text;
    byId(id).setAttribute("aria-label", text);
  }

  const nearestCodes = (to, count) => coordinates.nearestCodes(codes, total, to, nearDimensions, count);

  // If the map shows the latent space, the crosshair is at the code. Otherwise it is where the code came from, or at
  // the test image with the nearest code.
  function placeCrosshair() {
    const place = origin.index !== undefined ? scatter.placeOf(origin.index) : (origin.place ?? null);
    const exact = moved.size === 0 && (origin.kind === "image" || origin.kind === "place");
    if (decode && content.place_is_code) map.point([code[0], origins.onLine ? (place?.[1] ?? 0) : code[1]], true);
    else if (place || !nearDimensions.length) map.point(place, exact);
    else if (origin.kind === "between") map.point(placeOnPath({ origin, code, moved }), false);
    else map.point(scatter.placeOf(nearestCodes(code, 1)[0].index), false);
  }

  // The place on the map of something on a path: its own, or by averaging the places of the nearest codes.
  function placeOnPath(shown) {
    if (content.place_is_code) return [shown.code[0], origins.onLine ? 0 : shown.code[1]];
    if (shown.origin.kind === "place" && shown.moved.size === 0) return shown.origin.place;
    const mixture = coordinates.shares(nearestCodes(shown.code, coordinates.NEIGHBOURS));
    return coordinates.mixedPlace(places, mixture);
  }

  // Where the path from the pinned code leads: to the code that is shown, unless that is itself on the path.
  const onPath = () => origin.kind === "between" && origin.from === pin && moved.size === 0;
  const pathEnd = () => (onPath() ? origin.to : origins.write(origin, moved, code));

  const pathId = () => (pin ? `${pin} ${pathEnd()}` : here());

  function showPath() {
    byId("lesson").hidden = lesson !== pathId();
    if (!path) return;
    const from = pin && origins.find(pin);
    if (!from) {
      path.show(null);
      map.follow([]);
      return;
    }
    const to = onPath() ? origins.find(origin.to) : { origin, code, moved };
    const share = onPath() ? origin.share : 1;
    const between = path.show({ from: from.code, to: to.code, spherical: way === "spherical", share });
    byId("path-ends").textContent = captions.path(describe(from), describe(to));
    if (!nearDimensions.length) return;
    const inner = between.slice(1, -1).map((each) => ({ origin: { kind: "between" }, code: each, moved: new Set() }));
    map.follow([from, ...inner, to].map(placeOnPath));
  }

  // Draws at most once per frame, no matter how often the code changes.
  let waiting = false;
  function show() {
    placeCrosshair();
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (decode) {
        const image = decode(code);
        pictures.show(byId("decoded"), image);
        views.showDifference(origin, image);
      }
      views.showSource(origin);
      showPath();
      write();
    });
  }

  function go(newOrigin, newCode = origins.codeOf(newOrigin)) {
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
    if (content.place_is_code && origin.kind === "place") origin.mixture = origins.around(code);
    follow();
    show();
  }

  const goToImage = (index) => go({ kind: "image", index });
  const goToPlace = (place) => go(origins.atPlace(place));

  // Goes where an address leads; whether it leads anywhere on this page.
  function goTo(text) {
    const found = origins.find(text);
    if (!found) return false;
    ({ pin, way } = found);
    go(found.origin, found.start);
    for (const dimension of found.moved) move(dimension, found.code[dimension]);
    return true;
  }

  const here = () => origins.write(origin, moved, code, pin, way);

  function setPin() {
    [pin, news] = [origins.write(origin, moved, code), "Pinned as A"];
    show();
  }

  function unpin() {
    [pin, news] = [null, "Unpinned"];
    show();
    byId("pin").focus();
  }

  // Goes to a share of the way from the pinned code to the end of the path, which stays.
  function goToShare(share) {
    const to = pathEnd();
    if (share === 1) goTo(`${to}&pin=${encodeURIComponent(pin)}&way=${way}`);
    else go({ kind: "between", share, spherical: way === "spherical", from: pin, to });
  }

  function setWay(newWay) {
    [way, news] = [newWay, `${newWay === "straight" ? "Straight" : "Spherical"} path`];
    if (onPath()) go({ ...origin, spherical: way === "spherical" });
    else show();
  }

  const sliders =
    decode &&
    createSliders({ dimensions: content.dimensions, limit, first: content.first_sliders, onChange: move });
  const past = createPast({ here, goTo });
  const path = decode && createPath({ decode, pictures, onPick: past.step(goToShare), onWay: past.step(setWay) });
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
    onHover: createTooltip({ tooltip: byId("tooltip"), pictures, tileHeight: content.tile[0], named }),
    onZoom(zoomed) {
      for (const id of ["zoom-out", "whole"]) byId(id).disabled = !zoomed;
    },
  });
  for (const [id, action] of [["zoom-in", map.zoomIn], ["zoom-out", map.zoomOut], ["whole", map.showWhole]]) {
    byId(id).addEventListener("click", action);
    byId(id).disabled = id !== "zoom-in";
  }
  createLegend({ content, onSingle: map.single });
  const measures =
    content.measures.length > 0 &&
    createMeasures({
      measures: content.measures,
      onColour(colourOf) {
        scatter.paint(colourOf);
        map.redraw();
      },
      onImage: past.step((index, words) => {
        news = words;
        goToImage(index);
      }),
    });
  const neighbourhood =
    byId("neighbours") &&
    createNeighbourhood({
      codes,
      total,
      dimensions: nearDimensions,
      percentiles: content.percentiles,
      pictures,
      name: (index) => captions.named(named(index)),
      onPoint: past.step(goToImage),
    });
  if (decode) {
    let seed = 0;
    const nextSeed = () => (seed = Math.max(seed, origin.seed ?? 0) + 1); // also after that of an address
    const reset = () => (origin.kind === "place" ? goToPlace(origin.place) : go(origin, start));
    const actions = {
      mean: () => go({ kind: "mean" }),
      draw: () => go({ kind: "draw", seed: nextSeed() }),
      posterior: () => go({ kind: "posterior", index: origin.index, seed: nextSeed() }),
      reset,
      pin: setPin,
      unpin,
    };
    createTakeAway({
      canvas: byId("decoded"),
      code: () => code,
      name: () => origins.write(origin, moved, code),
      say: (words) => (byId("status").textContent = words),
    });
    for (const [id, action] of Object.entries(actions)) byId(id)?.addEventListener("click", past.step(action));
  }
  createLessons({
    content,
    codes,
    places,
    dimensions: nearDimensions,
    percentiles: content.percentiles,
    decode,
    limit,
    name: (index) => captions.named(named(index)),
    onShow: past.step((text, words) => {
      news = words.replace(/\.$/, "");
      byId("lesson").textContent = words;
      goTo(text);
      lesson = pathId();
    }),
  });
  sprite.addEventListener("load", () => {
    if (!goTo(location.hash.slice(1))) goToImage(0);
    past.begin();
  });
  sprite.src = content.sprite;
})();
