"use strict";

// The images beside the decoded one: the test image that a code comes from, and the difference between the two. `fades`
// says whether images with small shares of a code are faint.
const createViews = ({ content, pictures, fades }) => {
  const { byId, shape } = elements;
  const [tileHeight, tileWidth] = content.tile; // of a test image, which may be shrunk
  const GAP = 6; // pixels between small images

  // Hides a canvas if there are words that say why.
  function explain(id, absent) {
    byId(id).hidden = absent !== "";
    byId(`${id}-absent`).hidden = absent === "";
    byId(`${id}-absent`).textContent = absent;
    return absent !== "";
  }

  function whyNoSource({ kind, index }) {
    if (index === undefined && kind !== "place") return "No test image has this code.";
    return pictures.has(index ?? 0) ? "" : "To keep this page small, this test image has no picture.";
  }

  function whyNoDifference({ index }) {
    if (index === undefined) return "No test image to compare with.";
    return content.exact && pictures.has(index) ? "" : "The exact test image does not fit into this page.";
  }

  return {
    // Draws the image that a code came from, or the nearest images in a small grid.
    showSource(origin) {
      if (explain("source", whyNoSource(origin))) return;
      const canvas = byId("source");
      if (origin.index !== undefined) {
        pictures.showTest(canvas, origin.index);
        return;
      }
      const [side, times] = [Math.ceil(Math.sqrt(coordinates.NEIGHBOURS)), Math.ceil(96 / tileWidth)];
      const [across, down] = [times * tileWidth + GAP, times * tileHeight + GAP];
      shape(canvas, side * across - GAP, side * down - GAP);
      const pen = canvas.getContext("2d");
      const most = Math.max(...origin.mixture.map(({ share }) => share));
      origin.mixture.forEach(({ index, share }, rank) => {
        pen.globalAlpha = fades ? 0.3 + (0.7 * share) / most : 1;
        pictures.drawTest(pen, index, (rank % side) * across, Math.floor(rank / side) * down, times);
      });
    },

    // Draws the difference between the test image and the decoded image, where both are there.
    showDifference(origin, image) {
      if (explain("difference", whyNoDifference(origin))) return;
      pictures.show(byId("difference"), pictures.difference(image, pictures.intensities(origin.index)));
    },
  };
};
