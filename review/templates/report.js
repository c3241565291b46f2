"use strict";

// Charts. The AST interpreter needs no eval, which the page's security policy forbids. Charts are exported in the
// browser.
const options = { ast: true, renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };

for (const chart of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(chart.querySelector("script").textContent);
  vegaEmbed(chart.querySelector("div"), specification, options).catch((error) => {
    chart.append(`This chart cannot be drawn: ${error.message}`);
    throw error;
  });
}

// The viewer enlarges a picture and switches between its revisions.
const viewer = document.getElementById("viewer");
const enlarged = viewer.querySelector("img");
const choices = viewer.querySelector(".choices");

function choose(place) {
  const buttons = [...choices.children];
  const chosen = buttons[(place + buttons.length) % buttons.length];
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
  enlarged.src = chosen.image.src;
  enlarged.alt = chosen.image.alt;
}

function enlarge(image) {
  const card = image.closest("article");
  const images = [...card.querySelectorAll("img")];
  viewer.querySelector("h2").textContent = card.querySelector("h3").textContent;
  choices.replaceChildren(
    ...images.map((each, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = each.closest("figure")?.querySelector("figcaption").textContent ?? "all revisions";
      button.image = each;
      button.addEventListener("click", () => choose(place));
      return button;
    }),
  );
  choose(images.indexOf(image));
  viewer.showModal();
}

for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => enlarge(button.querySelector("img")));
}

viewer.querySelector(".close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) {
    viewer.close();
  }
});
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) {
    choose([...choices.children].findIndex((each) => each.getAttribute("aria-pressed") === "true") + step);
  }
});
