"use strict";

// Draws test images, which are tiles of one picture (the sprite), and decoded images.
const createPictures = ({ content, sprite }) => {
  const [channels, height, width] = content.shape;
  const [tileHeight, tileWidth] = content.tile; // of a test image, which may be shrunk
  const { theme, shape } = elements;

  const has = (index) => index < content.pictures; // the page may be too small for all

  // Draws a test image at x and y, enlarged `times` times; a frame if it has no picture.
  function drawTest(pen, index, x, y, times) {
    if (!has(index)) {
      pen.strokeStyle = theme("edge");
      pen.strokeRect(x + 0.5, y + 0.5, times * tileWidth - 1, times * tileHeight - 1);
      return;
    }
    const left = (index % content.columns) * tileWidth;
    const top = Math.floor(index / content.columns) * tileHeight;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(sprite, left, top, tileWidth, tileHeight, x, y, times * tileWidth, times * tileHeight);
  }

  // Fills a canvas with a test image.
  function showTest(canvas, index, times = 1) {
    shape(canvas, times * tileWidth, times * tileHeight);
    drawTest(canvas.getContext("2d"), index, 0, 0, times);
  }

  // Fills a canvas with intensities, channels × height × width.
  function show(canvas, image) {
    shape(canvas, width, height);
    const pen = canvas.getContext("2d");
    const picture = pen.createImageData(width, height);
    const pixels = width * height;
    for (let pixel = 0; pixel < pixels; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        // The array is clamped: it rounds values and limits them to 0 to 255.
        picture.data[4 * pixel + channel] = 255 * image[(channels === 3 ? channel * pixels : 0) + pixel];
      }
      picture.data[4 * pixel + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
  }

  // The intensities of a test image, channels × height × width, if it has been neither shrunk nor compressed.
  const scratch = new OffscreenCanvas(tileWidth, tileHeight).getContext("2d", { willReadFrequently: true });
  function intensities(index) {
    drawTest(scratch, index, 0, 0, 1);
    const { data } = scratch.getImageData(0, 0, tileWidth, tileHeight);
    const pixels = tileWidth * tileHeight;
    const intensity = (_, i) => data[4 * (i % pixels) + Math.floor(i / pixels)] / 255;
    return Float32Array.from({ length: channels * pixels }, intensity);
  }

  // The absolute difference of two images, black where they are equal.
  const difference = (one, other) => one.map((value, i) => Math.abs(value - other[i]));

  return { has, intensities, difference, drawTest, showTest, show };
};
