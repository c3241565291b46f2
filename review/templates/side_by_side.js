"use strict";

// The page that shows two models side by side: the same test image reconstructed, and the same draw decoded, by both.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const { byId } = elements;
  const sprite = new Image();
  const pictures = createPictures({ content, sprite });
  const total = content.labels.length;

  // What is shown: { kind: "image", index } or { kind: "draw", seed }.
  let origin = { kind: "image", index: 0 };

  const naming = captions.naming(content);

  const panes = content.models.map((model, number) => {
    const letter = "AB"[number];
    const codes = decoding.numbers(model.codes, model.precision).subarray(0, total * model.latent_dim);
    const places = decoding.numbers(model.places);
    const scatter = createScatter({ ...content, ...model }, places);
    // Between dots, the crosshair stays there, and the nearest test image is shown.
    const goToPlace = (place) => {
      go({ kind: "image", index: coordinates.nearest(places, place, [0, 1], 1)[0].index });
      map.point(place, false);
    };
    const map = createMap({
      canvas: byId(`map-${letter}`),
      scatter,
      labels: content.labels,
      onPlace: goToPlace,
      onPress: goToPlace,
      onPoint: (index) => go({ kind: "image", index }),
      onHover: createTooltip({ tooltip: byId(`tooltip-${letter}`), pictures, tileHeight: content.tile[0], naming }),
    });
    const code = () =>
      origin.kind === "image"
        ? coordinates.codeOf(codes, origin.index, model.latent_dim)
        : coordinates.draw(origin.seed, model.latent_dim);
    const decode = decoding.decoder(model.decoder);
    return {
      letter,
      map,
      image: () => decode(code()),
      // Puts the crosshair at the test image, or at the one whose code is nearest to the draw.
      point() {
        const near = () => coordinates.nearest(codes, code(), model.dimensions, 1)[0].index;
        const isImage = origin.kind === "image";
        const place = isImage || model.dimensions.length ? scatter.placeOf(isImage ? origin.index : near()) : null;
        map.point(place, isImage);
      },
    };
  });

  // Shows an image, or a dash and the reason without one.
  function show(id, image, words) {
    byId(id).hidden = image === null;
    byId(`${id}-absent`).hidden = image !== null;
    byId(`${id}-caption`).textContent = words;
    if (image) pictures.show(byId(id), image);
  }

  const squares = (image) => `squared error ${image.reduce((sum, value) => sum + value ** 2, 0).toPrecision(3)}`;

  function showDifferences(images) {
    const compared = origin.kind === "image" && content.exact && pictures.has(origin.index);
    const tested = compared ? pictures.intensities(origin.index) : null;
    for (const [number, { letter }] of panes.entries()) {
      const difference = tested && pictures.difference(tested, images[number]);
      const reason = origin.kind === "draw" ? "of test images only" : "without the exact test image";
      show(`difference-${letter}`, difference, difference ? squares(difference) : reason);
    }
    const between = pictures.difference(images[0], images[1]);
    show("between", between, squares(between).replace("error", "difference"));
  }

  const draw = elements.oncePerFrame(() => {
    const images = panes.map(({ image }) => image());
    const isImage = origin.kind === "image";
    const words = isImage ? captions.named(naming(origin.index)) : `draw ${origin.seed} from the prior`;
    panes.forEach(({ letter }, number) => show(`decoded-${letter}`, images[number], ""));
    byId("source").hidden = !isImage;
    byId("source-absent").hidden = isImage;
    byId("source-caption").textContent = isImage ? "test image" : "a draw has none";
    if (isImage) pictures.showTest(byId("source"), origin.index);
    showDifferences(images);
    byId("shown").textContent = words.charAt(0).toUpperCase() + words.slice(1);
    const errors = panes.map(({ letter }) => `${letter}: ${byId(`difference-${letter}-caption`).textContent}`);
    past.settle([byId("shown").textContent, ...(isImage ? errors : [])].join(". "));
  });

  function go(newOrigin) {
    origin = newOrigin;
    panes.forEach(({ point }) => point());
    draw();
  }

  function goTo(text) {
    const state = address.read(text);
    const index = content.indices.indexOf(state?.number);
    if (state?.kind === "draw") go({ kind: "draw", seed: state.seed });
    else if (state?.kind === "image" && index >= 0) go({ kind: "image", index });
    else return false;
    return true;
  }

  const here = () => address.write({ ...origin, number: content.indices[origin.index], values: [] });
  const past = createPast({ here, goTo });
  const step = (by) => go({ kind: "image", index: ((origin.index ?? 0) + by + total) % total });
  let seed = 0;
  const nextSeed = () => (seed = Math.max(seed, origin.seed ?? 0) + 1); // also after that of an address
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("draw").addEventListener("click", () => go({ kind: "draw", seed: nextSeed() }));
  createLegend({ content, onSingle: (labels) => panes.forEach(({ map }) => map.single(labels)) });
  sprite.addEventListener("load", () => {
    if (!goTo(location.hash.slice(1))) go(origin);
    past.begin();
  });
  sprite.src = content.sprite;
})();
