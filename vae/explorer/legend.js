"use strict";

// The classes with their colours, as buttons. It calls onSingle(labels) with those that are highlighted.
const createLegend = ({ content, onSingle }) => {
  const { byId, create } = elements;
  const legend = byId("legend");
  const singled = new Set();
  const present = new Set(content.labels);
  legend.replaceChildren(); // it may be full in a page that has been saved
  legend.hidden = content.class_names.length === 1;
  content.class_names.forEach((name, label) => {
    if (!present.has(label)) return;
    const swatch = create("span", { className: "swatch" });
    swatch.style.background = content.colours[label];
    const button = create("button", { type: "button", title: name }, swatch, content.short_names[label]);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      if (!singled.delete(label)) singled.add(label);
      button.setAttribute("aria-pressed", String(singled.has(label)));
      onSingle(singled);
    });
    legend.append(button);
  });
};
