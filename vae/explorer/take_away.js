"use strict";

// The menu to download the decoded image and to copy the code for Python. It takes the canvas, functions that give the
// code and a name for the file, and say(words) for screen readers.
const createTakeAway = ({ canvas, code, name, say }) => {
  const { byId, create } = elements;

  const python = () => {
    const numbers = [...code()].map((value) => Number(value.toPrecision(6))).join(", ");
    return `import vae\n\nimages = vae.load("models/vae.safetensors").decode([[${numbers}]])\n`;
  };

  function tell(words) {
    byId("taken").textContent = words;
    say(words);
  }

  byId("take-menu").addEventListener("beforetoggle", () => {
    byId("python").value = python();
    byId("taken").textContent = "";
  });

  byId("download").addEventListener("click", () =>
    canvas.toBlob((file) => {
      const href = URL.createObjectURL(file);
      create("a", { href, download: `${name().replace(/[^\w.-]+/g, "-").slice(0, 60)}.png` }).click();
      URL.revokeObjectURL(href);
      tell("Downloaded.");
    }),
  );

  byId("copy").addEventListener("click", async () => {
    byId("python").select();
    try {
      await navigator.clipboard.writeText(byId("python").value);
      tell("Copied.");
    } catch {
      tell("This browser does not let the page copy. The text is selected: copy it with Ctrl+C.");
    }
  });
};
