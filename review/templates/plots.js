"use strict";

// DVC's plots call vegaEmbed with a specification only. Add options: the AST interpreter needs no eval, which the
// page's security policy forbids, and charts are exported in the browser. Drop $schema, whose older version would cause
// a warning.
const embed = window.vegaEmbed;
const options = { ast: true, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };
window.vegaEmbed = (place, { $schema: version, ...specification }) => embed(place, specification, options);

// Link each picture to its full size.
document.addEventListener("DOMContentLoaded", () => {
  for (const picture of document.images) {
    const link = document.createElement("a");
    link.href = picture.src;
    picture.alt = picture.parentElement.textContent.trim();
    picture.replaceWith(link);
    link.append(picture);
  }
});
