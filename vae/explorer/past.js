"use strict";

// The steps that have been made, in the browser's history: each is an address. `here` gives the address of what is shown,
// and goTo(address) shows it again.
const createPast = ({ here, goTo }) => {
  const { byId } = elements;
  let [at, last] = [0, 0]; // the number of the current step, and of the last that can be redone

  function update() {
    if (!byId("undo")) return;
    byId("undo").disabled = at === 0;
    byId("redo").disabled = at === last;
  }

  // Makes a step if what is shown has changed.
  function record() {
    const now = `#${here()}`;
    if (now === location.hash) return;
    last = ++at;
    history.pushState({ at }, "", now);
    update();
  }

  // When the user goes back or forward, or edits the address.
  window.addEventListener("popstate", ({ state }) => {
    if (!goTo(location.hash.slice(1))) return;
    at = state?.at ?? at + 1;
    last = Math.max(at, state ? last : at);
    if (!state) history.replaceState({ at }, "");
    update();
  });
  byId("undo")?.addEventListener("click", () => history.back());
  byId("redo")?.addEventListener("click", () => history.forward());

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
      at = history.state?.at ?? 0;
      last = at;
      history.replaceState({ at }, "", `#${here()}`);
      update();
    },
  };
};
