"use strict";

// A slider for each active dimension. It calls onChange(dimension, value).
const createSliders = ({ content, limit, onChange }) => {
  const SIDEWAYS = 8; // pixels by which a touch on a slider moves before it changes the slider
  const THUMB = 18; // pixels of a slider's thumb
  const { byId, create } = elements;

  // A row of the list: the dimension with its KL, the slider and its value.
  function createRow({ dimension, kl }) {
    const id = `z${dimension}`;
    const input = create("input", { type: "range", id, min: -limit, max: limit, step: 0.05 });
    const output = create("output", { htmlFor: id, ariaLive: "off" }); // the slider itself says its value
    const name = create("label", { htmlFor: id }, create("b", { textContent: id }), ` ${kl.toFixed(2)} nats`);
    listen(input, () => onChange(dimension, Number(input.value)));
    return {
      id,
      row: create("div", { className: "slider" }, name, input, output),
      follow(code, posterior) {
        input.value = code[dimension];
        output.textContent = input.ariaValueText = captions.signed(code[dimension]);
        markDeviation(input, posterior && posterior(dimension));
      },
    };
  }

  // Browsers set a slider to where it is touched, even if the touch then scrolls the page. Here, a touch sets a slider
  // when it moves sideways or ends without having moved.
  function listen(input, change) {
    let touch = null; // where a touch began and the value before, until it has moved sideways
    input.addEventListener("pointerdown", ({ pointerType, clientX }) => {
      touch = pointerType === "touch" ? { clientX, value: input.value } : null;
    });
    input.addEventListener("pointermove", ({ clientX }) => {
      if (touch && Math.abs(clientX - touch.clientX) > SIDEWAYS) touch = null;
    });
    input.addEventListener("pointercancel", () => (touch = null));
    input.addEventListener("pointerup", ({ clientX }) => {
      if (!touch) return;
      touch = null;
      const { x, width } = input.getBoundingClientRect();
      input.value = limit * ((2 * (clientX - x - THUMB / 2)) / (width - THUMB) - 1);
      change();
    });
    input.addEventListener("input", () => {
      if (touch) input.value = touch.value;
      else change();
    });
  }

  // Marks the encoder's mean ± one standard deviation on the track, if there are such.
  function markDeviation(input, range) {
    const share = (value) => Math.min(Math.max((value + limit) / (2 * limit), 0), 1);
    const [low, high] = range ? [range.mean - range.deviation, range.mean + range.deviation].map(share) : [0, 0];
    input.style.setProperty("--low", low);
    input.style.setProperty("--high", high);
  }

  // Shows the sliders that are looked for, or the first, or all.
  function choose() {
    const sought = byId("find").value.trim().toLowerCase();
    const all = byId("all").ariaPressed === "true";
    const found = (id) => id.startsWith(sought) || id.slice(1).startsWith(sought);
    rows.forEach(({ row, id }, rank) => (row.hidden = sought ? !found(id) : !all && rank >= content.first_sliders));
    byId("none-found").hidden = rows.some(({ row }) => !row.hidden);
  }

  const rows = content.dimensions.map(createRow);
  byId("rows").replaceChildren(...rows.map(({ row }) => row));
  if (byId("find")) {
    byId("find").addEventListener("input", choose);
    byId("all").addEventListener("click", ({ currentTarget }) => {
      currentTarget.ariaPressed = currentTarget.ariaPressed !== "true";
      choose();
    });
    choose();
  }

  return {
    // Moves the sliders to a code. `posterior`, if there is one, gives a dimension's { mean, deviation }.
    follow: (code, posterior) => rows.forEach((row) => row.follow(code, posterior)),
  };
};
