"use strict";

// The steps that have been made, in the browser's history: each is an address. `here` gives the address of what is
// shown, and goTo(address) shows it again. It calls onSettled() after a change has been announced to screen readers.
const createPast = ({ here, goTo, onSettled }) => {
  const PAUSE = 500; // milliseconds without a change, after which it is announced and becomes a step of the history
  const { byId } = elements;
  let [at, last] = [0, 0]; // the number of the current step, and of the last that can be redone
  let current = null; // the address of the current step; none before the first

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
    if (current === null || here() === current) return;
    current = here();
    remember("pushState", at + 1);
  }

  let pause = null;
  function settle(words) {
    clearTimeout(pause);
    pause = setTimeout(() => {
      if (byId("status").textContent !== words) byId("status").textContent = words;
      onSettled?.();
      record();
    }, PAUSE);
  }

  // A press makes a step of its own: what was shown before it is another.
  for (const kind of ["pointerdown", "click"]) document.addEventListener(kind, record, true);
  document.addEventListener("click", record);

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
    settle, // after a change, with what to announce
    // The first step, or the one at which the page has been reloaded.
    begin() {
      current = here();
      remember("replaceState", history.state?.at ?? 0);
    },
  };
};
