"use strict";

// DVC's plots call vegaEmbed with a specification alone. The interpreter does without eval, which the page's security
// policy forbids; a chart is saved on the spot; of its version, which is earlier than this Vega-Lite's, it says nothing.
const embed = window.vegaEmbed;
const options = { ast: true, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };
window.vegaEmbed = (place, { $schema: version, ...specification }) => embed(place, specification, options);

// A picture is a link to itself, in its full size.
document.addEventListener("DOMContentLoaded", () => {
  for (const picture of document.images) {
    const link = document.createElement("a");
    link.href = picture.src;
    picture.alt = picture.parentElement.textContent.trim();
    picture.replaceWith(link);
    link.append(picture);
  }
});
