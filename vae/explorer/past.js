"use strict";

// The steps that have been made, in the browser's history: each is an address. `here` gives the address of what is
// shown, and goTo(address) shows it again.
const createPast = ({ here, goTo }) => {
  const { byId } = elements;
  let [at, last] = [0, 0]; // the number of the current step, and of the last that can be redone
  let current = null; // the address of the current step

  // Writes a step to the history. Browsers refuse where a page has no address of its own; it then has no history.
  function remember(method, number) {
    try {
      history[method]({ at: number }, "", `#${current}`);
    } catch {
      return;
    }
    at = number;
    last = method === "pushState" ? at : Math.max(at, last);
    byId("undo").disabled = at === 0;
    byId("redo").disabled = at === last;
  }

  // Makes a step if what is shown has changed.
  function record() {
    if (here() === current) return;
    current = here();
    remember("pushState", at + 1);
  }

  // When the user goes back or forward, or edits the address, which makes a step.
  window.addEventListener("popstate", ({ state }) => {
    if (!goTo(location.hash.slice(1))) return;
    current = here();
    if (!state) last = at + 1;
    remember("replaceState", state?.at ?? last);
  });
  byId("undo").addEventListener("click", () => history.back());
  byId("redo").addEventListener("click", () => history.forward());

  return {
    record,
    // A function that makes a step of its own.
    step:
      (action) =>
      (...values) => {
        record();
        action(...values);
        record();
      },
    // The first step, or the one at which the page has been reloaded.
    begin() {
      current = here();
      remember("replaceState", history.state?.at ?? 0);
    },
  };
};
