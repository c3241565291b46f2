"use strict";

// The texts that the page shows. Does not depend on the page.
const captions = (() => {
  // A coordinate with its sign and two decimals; zero has no sign.
  function signed(value) {
    const digits = Math.abs(value).toFixed(2);
    if (Number(digits) === 0) return digits;
    return (value < 0 ? "\u2212" : "+") + digits;
  }

  const named = ({ number, className }) =>
    `test image ${number}${className === null ? "" : `, labelled\u00a0${className}`}`;
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  // The texts for a code: the caption of the decoded image, the caption beside it, and the text for screen readers.
  //   kind     where the code comes from: "image", "place" on the map, or "mean" or "draw" of the prior
  //   image    the test image that it comes from, or the nearest one: { number, className }, the latter null without classes
  //   moved    the dimensions changed by sliders since
  //   code     the code itself if the map shows the latent space, else null
  //   mixed    whether the code of a place is averaged over those of test images
  //   decodes  whether there is a decoder
  function describe({ kind, image, moved, code, mixed, decodes }) {
    const change = moved.length > 2 ? `${moved.length} dimensions` : moved.map((d) => `z${d}`).join(" and ");
    const decoded = moved.length ? `Decoded after changing ${change}` : `Decoded ${unmoved(kind, code)}`;
    switch (kind) {
      case "image":
        return {
          decoded,
          beside: moved.length ? `From ${named(image)}` : capital(named(image)),
          said: decodes ? `${capital(named(image))}. ${decoded}` : capital(named(image)),
        };
      case "place":
        return {
          decoded,
          beside: mixed ? "Average of these codes" : "Nearest test images",
          said: `${decodes ? `${decoded}. ` : ""}Nearest: ${named(image)}`,
        };
      default:
        return { decoded, beside: "", said: decoded };
    }
  }

  function unmoved(kind, code) {
    if (kind === "place" && code) return [...code].map((value, d) => `z${d} = ${signed(value)}`).join(", ");
    return { image: "from its code", place: "between dots", mean: "mean of the prior", draw: "draw from the prior" }[kind];
  }

  return { signed, describe };
})();
