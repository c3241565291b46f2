"use strict";

// The texts that the page shows. Does not depend on the page.
const captions = (() => {
  // A coordinate with its sign and two decimals; zero has no sign.
  function signed(value) {
    const digits = Math.abs(value).toFixed(2);
    if (Number(digits) === 0) return digits;
    return (value < 0 ? "\u2212" : "+") + digits;
  }

  // What a test image of the page is called by its index: { number, className }, without classes null.
  const naming = (content) => (index) => ({
    number: content.indices[index],
    className: content.class_names.length > 1 ? content.class_names[content.labels[index]] : null,
  });
  const named = ({ number, className }) =>
    `test image ${number}${className === null ? "" : `, labelled\u00a0${className}`}`;
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  // The texts for a code: the caption of the decoded image, the caption beside it, and the text for screen readers.
  //   kind     where the code comes from: "image", "place" on the map, "mean" or "draw" of the prior, "posterior",
  //            "between" two codes, or "sum" of a code and B − A
  //   share    of the way between these
  //   seed     of a draw
  //   image    the test image that it comes from, or the nearest one, if there is one: { number, className }
  //   moved    the dimensions changed by sliders since
  //   code     the code itself if the map shows the latent space, else null
  //   mixed    whether the code of a place is averaged over those of test images
  //   decodes  whether there is a decoder
  function describe({ kind, seed, share, image, moved, code, mixed, decodes }) {
    const names = moved.map((d) => `z${d}`).join(" and ");
    const changed = moved.length > 2 ? `${moved.length} changes` : `changing ${names}`;
    const change = kind === "sum" ? `adding B \u2212 A and ${changed}` : changed;
    const decoded = moved.length ? `Decoded after ${change}` : `Decoded ${unmoved(kind, seed, share, code)}`;
    switch (kind) {
      case "image":
      case "posterior":
        return {
          decoded,
          beside: moved.length || kind === "posterior" ? `From ${named(image)}` : capital(named(image)),
          said: decodes ? `${capital(named(image))}. ${decoded}` : capital(named(image)),
        };
      case "place":
        return {
          decoded,
          beside: mixed ? "Average of these codes" : "Nearest test images",
          said: `${decodes ? `${decoded}. ` : ""}Nearest: ${named(image)}`,
        };
      default: {
        const beside = image ? `From ${named(image)}` : "";
        return { decoded, beside, said: [decoded, beside].filter(Boolean).join(". ") };
      }
    }
  }

  function unmoved(kind, seed, share, code) {
    if (kind === "place" && code) return [...code].map((value, d) => `z${d} = ${signed(value)}`).join(", ");
    return {
      image: "from its code",
      posterior: `draw ${seed} from its posterior`,
      place: "between dots",
      mean: "mean of the prior",
      draw: `draw ${seed} from the prior`,
      between: between(share),
      sum: "after adding B \u2212 A",
    }[kind];
  }

  // Where a share of the way from one code to another is.
  function between(share) {
    if (share === 0 || share === 1) return `from code ${share ? "B" : "A"}`;
    return `${Number((8 * share).toFixed(2))}/8 of the way from A to B`;
  }

  // The ends of a path. `from` and `to` are what describe() says about them; `adds` is whether the change from the one
  // to the other is added to other codes.
  const path = (from, to, adds) =>
    `A: ${trimmed(from)}. B: ${trimmed(to)}.${adds ? " Choose another image or place to add B \u2212 A to it." : ""}`;
  const trimmed = ({ beside, decoded }) => {
    if (beside.startsWith("From")) return `${lower(decoded)}, ${lower(beside)}`;
    return lower(/^Test/.test(beside) ? beside : decoded);
  };
  const lower = (text) => text.charAt(0).toLowerCase() + text.slice(1);

  const ORDINARY = 99; // percent; beyond, there are hardly any codes
  const isEmpty = (percent) => percent >= ORDINARY;

  // How far a code is from the nearest code of a test image, and whether that is far.
  //   distance    to it
  //   other       whether the code itself is that of a test image, which does not count
  //   percent     of draws from the posteriors of test images that are nearer to the code of another test image
  function nearness({ distance, other, percent }) {
    const empty = isEmpty(percent) && !other;
    const nearest = `the nearest ${other ? "other " : ""}code is ${distance.toFixed(2)} away`;
    const words = `${nearest}; ${percent}% of the encoder’s codes have a nearer neighbour.`;
    return { empty, words: empty ? `Empty area, where images are often unreal: ${words}` : capital(words) };
  }

  // The words of lessons.
  function hole({ where, distance, percent }) {
    const near = `${where}, the nearest code of a test image is ${distance.toFixed(2)} away.`;
    const share = `${percent}% of the encoder’s codes have a nearer neighbour.`;
    return isEmpty(percent)
      ? `${near} ${share} The decoder was hardly trained on codes this far out, so its images are often unreal.`
      : `${near} This is the emptiest place found, but no hole: ${share}`;
  }

  const collapsed = ({ dimension, change, reach }) =>
    `From A to B, z${dimension} goes from \u2212${reach} to +${reach} standard deviations of the prior, and no pixel ` +
    `changes by more than ${Number((100 * change).toPrecision(2))}% of the range from black to white. ` +
    "The encoder hardly uses this dimension, so it has no slider.";

  const distances = ({ one, other, distance, method }) =>
    `${capital(one)} (A), and ${other} (B), have similar codes, at a distance of ${distance.toFixed(2)}, but lie far ` +
    `apart on the map. ${method} keeps most close neighbours together; distances between its clusters, and their ` +
    "sizes, mean nothing.";

  return { isEmpty, hole, collapsed, distances, signed, naming, named, describe, between, path, nearness };
})();
