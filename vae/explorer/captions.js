"use strict";

// What the page shows, in words. Knows nothing of the page.
const captions = (() => {
  // A coordinate to two digits with its sign, of which zero has none.
  function signed(value) {
    const digits = Math.abs(value).toFixed(2);
    if (Number(digits) === 0) return digits;
    return (value < 0 ? "\u2212" : "+") + digits;
  }

  const named = ({ number, className }) => `test image ${number}, class\u00a0${className}`;
  const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

  // Of a code: the caption of the decoded image, that of what stands beside it, and what is said aloud.
  //   kind     where the code is from: "image", "place", "mean" or "draw", the latter two of the prior
  //   image    the test image that it is from, or the nearest: { number, className }
  //   moved    dimensions that sliders have moved since
  //   code     the code itself where the map shows the latent space, else null
  //   mixed    whether a place's code is averaged over those of test images
  //   decodes  whether there is a decoder at all
  function describe({ kind, image, moved, code, mixed, decodes }) {
    const change = moved.length > 2 ? `${moved.length} dimensions` : moved.map((d) => `z${d}`).join(" and ");
    const decoded = moved.length ? `Decoded, moved along ${change}` : `Decoded ${unmoved(kind, code)}`;
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
          beside: mixed ? "Averaged over these" : "Nearest test images",
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
