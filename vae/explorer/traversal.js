"use strict";

// The images along the dimension whose slider was used last, from one end of the prior to the other, while the other
// dimensions keep their values. It calls onChange(dimension, value) for an image that is pressed.
const createTraversal = ({ decode, pictures, onChange }) => {
  const VALUES = [-3, -2, -1, 0, 1, 2, 3]; // standard deviations of the prior
  const { byId } = elements;
  let dimension = null;
  const strip = createStrip({
    holder: byId("traversal-strip"),
    items: VALUES.map((value) => ({ text: captions.signed(value).split(".")[0], name: `Set to ${value}` })),
    decode,
    pictures,
    onPick: (position) => onChange(dimension, VALUES[position]),
  });

  return {
    choose: (chosen) => (dimension = chosen),
    // Shows the images around a code.
    show(code) {
      byId("traversal").hidden = dimension === null;
      if (dimension === null) return;
      byId("traversed").textContent = `Along z${dimension}`;
      strip(VALUES.map((value) => code.with(dimension, value)), VALUES.indexOf(code[dimension]));
    },
  };
};
