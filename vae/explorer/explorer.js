"use strict";

// The page: shows the map, the images and the code, and handles all input.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const size = content.latent_dim;
  const total = content.labels.length;
  const codes = decoding.numbers(content.codes, content.precision).subarray(0, total * size);
  const places = decoding.numbers(content.places);
  const decode = content.decoder && decoding.decoder(content.decoder);
  const deviations = content.deviations && decoding.numbers(content.deviations, content.deviations_precision);
  const active = content.dimensions.map(({ dimension }) => dimension);
  const limit = Math.ceil(10 * codes.reduce((most, value) => Math.max(most, Math.abs(value)), 3)) / 10;

  const { byId } = elements;
  const naming = captions.naming(content);
  const name = (index) => captions.named(naming(index));
  const sprite = new Image();
  const pictures = createPictures({ content, sprite });
  const shared = { content, codes, places, deviations, decode, active, limit, name, pictures };
  const origins = createOrigins(shared);
  const views = createViews({ content, pictures, fades: decode !== null && origins.mixes });

  let shown = { pin: null, way: "straight" }; // see origins.js
  let lesson = null; // what it is about
  let news = ""; // to be announced with what is shown

  function describe({ origin, code, moved }) {
    const nearest = origin.index ?? origin.mixture?.[0].index;
    return captions.describe({
      ...origin,
      image: nearest === undefined ? null : naming(nearest),
      moved: [...moved],
      code: content.place_is_code ? code : null,
      mixed: decode && origins.mixes,
      decodes: decode !== null,
    });
  }

  function write() {
    const { origin, code, moved } = shown;
    const { decoded, beside, said } = describe(shown);
    caption("source", beside);
    if (decode) caption("decoded", decoded);
    byId("measured").textContent = origin.index === undefined ? "" : measures.words(origin.index);
    const around = neighbourhood?.show(code, origin.kind === "image" && moved.size === 0 ? origin.index : null);
    past.settle([news, said, around?.empty ? around.words : ""].filter((words) => words !== "").join(". "));
  }

  function caption(id, text) {
    byId(`${id}-caption`).textContent = text;
    byId(id).ariaLabel = text;
  }

  // The place of what is shown: the code itself if the map shows the latent space, else where an unchanged code comes
  // from, or the average of the places of the test images with the nearest codes. Without active dimensions, no code is
  // nearer than others.
  function placeOf({ origin, code, moved }) {
    const own = origin.index === undefined ? origin.place : scatter.placeOf(origin.index);
    if (content.place_is_code) return [code[0], origins.onLine ? (own?.[1] ?? 0) : code[1]];
    if (isOnMap({ origin, moved }) || !active.length) return own ?? null;
    const near = coordinates.nearest(codes, code, active, coordinates.NEIGHBOURS);
    return coordinates.mixed(places, 2, coordinates.shares(near));
  }

  const isOnMap = ({ origin, moved }) => moved.size === 0 && (origin.kind === "image" || origin.kind === "place");

  const show = elements.oncePerFrame(() => {
    if (decode) {
      const image = decode(shown.code);
      pictures.show(byId("decoded"), image);
      views.showDifference(shown.origin, image);
    }
    views.showSource(shown.origin);
    const way = path?.show() ?? [];
    map.follow(active.length ? way.map(placeOf) : []);
    traversal?.show(shown.code);
    byId("lesson").hidden = lesson !== about();
    write();
  });

  // Changes a part of what is shown.
  function set(changes, words = "") {
    shown = { ...shown, ...changes };
    news ||= words;
    const { origin, code, moved } = shown;
    const posterior = (d) => ({ mean: codes[origin.index * size + d], deviation: deviations[origin.index * size + d] });
    sliders?.follow(code, deviations && origin.index !== undefined ? posterior : null);
    if (decode) byId("reset").disabled = moved.size === 0;
    if (byId("posterior")) byId("posterior").disabled = origin.index === undefined;
    map.point(placeOf(shown), content.place_is_code || isOnMap(shown));
    show();
  }

  function go(origin, start = Float32Array.from(origins.codeOf(origin))) {
    set({ origin, start, code: start.slice(), moved: new Set() });
  }

  // Goes to an origin that the user has chosen.
  const choose = (origin) => go(path?.chosen(origin) ?? origin);
  const chooseImage = (index) => choose({ kind: "image", index });

  function move(dimension, value) {
    const { origin, code, moved } = shown;
    code[dimension] = value;
    moved.add(dimension);
    if (content.place_is_code && origin.kind === "place") origin.mixture = origins.around(code);
    traversal.choose(dimension);
    set({});
  }

  // Goes where an address leads; whether it leads anywhere on this page.
  function goTo(text) {
    const found = origins.find(text);
    if (found) set(found);
    return found !== null;
  }

  const about = () => path?.id() ?? origins.own(shown);

  const past = createPast({
    here: () => [origins.write(shown), ...settings.map((setting) => setting.write())].filter((part) => part).join("&"),
    goTo: goToStep,
    onSettled: () => (news = ""),
  });

  function goToStep(text) {
    if (!goTo(text)) return false;
    for (const setting of settings) setting.read(new URLSearchParams(text));
    return true;
  }

  const overlays = createOverlays({
    content,
    // With one latent dimension, on any row.
    placeOf: (code, i) =>
      placeOf({ origin: { kind: "draw", place: [0, -(i % content.class_names.length)] }, code, moved: new Set() }),
    onChange: () => map.redraw(),
  });
  const scatter = createScatter(content, places, overlays.draw);
  const map = createMap({
    canvas: byId("map"),
    scatter,
    labels: content.labels,
    onPlace: (place) => choose(origins.atPlace(place)),
    onPress: (place) => choose((decode && overlays.at(place, scatter.toPixels)) ?? origins.atPlace(place)),
    onPoint: chooseImage,
    onHover: createTooltip({ tooltip: byId("tooltip"), pictures, tileHeight: content.tile[0], naming }),
  });
  const legend = createLegend({ content, onSingle: map.single });
  const measures = createMeasures({
    measures: content.measures,
    onColour(colourOf) {
      scatter.paint(colourOf);
      map.redraw();
    },
    onImage(index, words) {
      news = words;
      chooseImage(index);
    },
  });
  byId("colour").addEventListener("change", past.record);
  const settings = [measures, legend, overlays];
  const neighbourhood = byId("neighbours") && createNeighbourhood({ ...shared, onPoint: chooseImage });
  const sliders = byId("sliders") && createSliders({ ...shared, onChange: move });
  const traversal = byId("sliders") && createTraversal({ ...shared, onChange: move });
  const path = decode && createPath({ ...shared, origins, state: () => shown, describe, set, go, goTo });

  if (decode) {
    let seed = 0;
    const nextSeed = () => (seed = Math.max(seed, shown.origin.seed ?? 0) + 1); // also after that of an address
    const actions = {
      mean: () => choose({ kind: "mean" }),
      draw: () => choose({ kind: "draw", seed: nextSeed() }),
      posterior: () => choose({ kind: "posterior", index: shown.origin.index, seed: nextSeed() }),
      reset: () => goTo(origins.write({ ...shown, moved: new Set() })),
    };
    for (const [id, action] of Object.entries(actions)) byId(id)?.addEventListener("click", action);
    createTakeAway({
      canvas: byId("decoded"),
      code: () => shown.code,
      name: () => origins.own(shown),
      say: (words) => (byId("status").textContent = words),
    });
  }
  createLessons({
    ...shared,
    onShow(text, words) {
      news = words.replace(/\.$/, "");
      byId("lesson").textContent = words;
      goTo(text);
      lesson = about();
    },
  });
  sprite.addEventListener("load", () => {
    if (!goToStep(location.hash.slice(1))) goToStep(`image=${content.indices[0]}`);
    past.begin();
  });
  sprite.src = content.sprite;
})();
