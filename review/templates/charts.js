"use strict";

// Draws charts, for the report and the page of `dvc plots`. The AST interpreter needs no eval, which the pages' security
// policy forbids. Charts are exported in the browser.
const OPTIONS = { ast: true, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };

function drawChart(box, specification, title) {
  return vegaEmbed(box, specification, OPTIONS).then(() => nameParts(box, title));
}

// Names for assistive technology: Vega leaves its drawing and its menu without one, and all entries alike.
function nameParts(box, title) {
  box.querySelector("svg").setAttribute("aria-label", title);
  box.querySelector("summary").setAttribute("aria-label", `Save: ${title}`);
  for (const link of box.querySelectorAll(".vega-actions a")) {
    link.setAttribute("aria-label", `${link.textContent}: ${title}`);
  }
}
