"use strict";

for (const chart of document.querySelectorAll(".chart")) {
  const specification = JSON.parse(chart.querySelector("script").textContent);
  drawChart(chart.querySelector("div"), specification, chart.getAttribute("aria-label")).catch((error) => {
    chart.append(`This chart cannot be drawn: ${error.message}`);
    throw error;
  });
}

// The viewer enlarges a picture and switches between its revisions.
const viewer = document.getElementById("viewer");
const enlarged = viewer.querySelector("img");
const choices = viewer.querySelector(".choices");
const spoken = viewer.querySelector("[role=status]"); // announces which revision the arrow keys chose

function choose(place) {
  const buttons = [...choices.children];
  const chosen = buttons[(place + buttons.length) % buttons.length];
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button === chosen));
  }
  enlarged.src = chosen.image.src;
  enlarged.alt = chosen.image.alt;
  spoken.textContent = chosen.textContent;
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
