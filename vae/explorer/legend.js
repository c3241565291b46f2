"use strict";

// The classes with their colours, as buttons. It calls onSingle(labels) with those that are highlighted.
const createLegend = ({ content, onSingle }) => {
  const { byId, create } = elements;
  const present = [...new Set(content.labels)].sort((a, b) => a - b);
  const buttons = present.map((label) => {
    const swatch = create("span", { className: "swatch" });
    swatch.style.background = content.colours[label];
    const properties = { type: "button", title: content.class_names[label], ariaPressed: false };
    return create("button", properties, swatch, content.short_names[label]);
  });
  byId("legend").replaceChildren(...buttons);
  byId("legend").hidden = content.class_names.length === 1;
  const byLabel = new Map(buttons.map((button, i) => [present[i], button]));
  return createToggles({ name: "classes", buttons: byLabel, onChange: onSingle });
};
