"use strict";

// What is measured of each test image: colours for the dots, and steps through the images from the worst. It calls
// onColour(colourOf), where colourOf(index) is a colour or null for that of the class, and onImage(index, words) for a
// step.
const createMeasures = ({ measures, onColour, onImage }) => {
  const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
  const OUTER = 0.01; // share of images at each end that have the colour of the end
  const { byId, create } = elements;
  const select = byId("colour");
  const orders = measures.map(({ values }) => values.map((_, i) => i).sort((i, j) => values[j] - values[i] || i - j));
  let rank = 0; // of the last image that was stepped to; the worst has rank 1

  const slug = ({ name }) => name.split(" (")[0].toLowerCase().replaceAll(" ", "-"); // in the address
  const by = () => Math.max(Number(select.value), 0); // the measure that orders images
  const short = (value) =>
    Math.abs(value) < 100 ? `${Number(value.toPrecision(3))}` : Math.round(value).toLocaleString("en");

  function colourAt(share) {
    const at = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1);
    const low = Math.min(Math.floor(at), COLOURS.length - 2);
    return `rgb(${COLOURS[low].map((value, i) => Math.round(value + (at - low) * (COLOURS[low + 1][i] - value)))})`;
  }

  function paint() {
    const chosen = measures[Number(select.value)];
    byId("scale").hidden = !chosen;
    byId("legend").classList.toggle("plain", Boolean(chosen));
    rank = 0;
    label();
    if (!chosen) {
      onColour(null);
      return;
    }
    const sorted = [...chosen.values].sort((a, b) => a - b);
    const outer = Math.floor(OUTER * sorted.length);
    const [low, high] = [sorted[outer], sorted[sorted.length - 1 - outer]];
    byId("lowest").textContent = `${outer ? "≤ " : ""}${short(low)}`;
    byId("highest").textContent = `${outer ? "≥ " : ""}${short(high)}`;
    onColour((index) => colourAt((chosen.values[index] - low) / (high - low || 1)));
  }

  const words = (index) => {
    const [name, unit] = measures[by()].name.split(/ (?=\()/);
    const value = `${short(measures[by()].values[index])}${unit ? ` ${unit.slice(1, -1)}` : ""}`;
    return `${name} ${value}, worst ${orders[by()].indexOf(index) + 1} of ${orders[by()].length}`;
  };

  function label() {
    byId("previous-worst").disabled = rank < 2;
    byId("next-worst").disabled = rank >= orders[by()].length;
    const [name] = measures[by()].name.split(" (");
    byId("order").textContent = `Worst by ${name.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())}`;
  }

  function step(ranks) {
    rank += ranks;
    label();
    const index = orders[by()][rank - 1];
    onImage(index, words(index));
  }

  const option = (text, value) => create("option", { textContent: text, value });
  const byClass = byId("legend").hidden ? "None" : "Class";
  select.replaceChildren(option(byClass, -1), ...measures.map(({ name }, i) => option(name, i)));
  select.addEventListener("change", paint);
  byId("previous-worst").addEventListener("click", () => step(-1));
  byId("next-worst").addEventListener("click", () => step(1));
  byId("gradient").style.background = `linear-gradient(to right, ${COLOURS.map((colour) => `rgb(${colour})`)})`;
  paint();

  return {
    words,
    // As a part of the address.
    write() {
      const colour = select.value === "-1" ? [] : [`colour=${slug(measures[by()])}`];
      return [...colour, ...(rank ? [`worst=${rank}`] : [])].join("&");
    },
    read(parts) {
      const chosen = String(measures.findIndex((measure) => slug(measure) === parts.get("colour")));
      if (chosen !== select.value) {
        select.value = chosen;
        paint();
      }
      const wanted = Number(parts.get("worst"));
      rank = orders[by()][wanted - 1] === undefined ? 0 : wanted;
      label();
    },
  };
};
