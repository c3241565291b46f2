"use strict";

// The way from the pinned code, A, to another, B: a strip of images on it, and the change from A to B, to be added to
// other codes. `state` gives what is shown (see origins.js), `describe` its words. It calls set(changes, words) to
// change a part of that, and go(origin) or goTo(address) to show another code.
const createPath = ({ origins, decode, pictures, state, describe, set, go, goTo }) => {
  const STEPS = 8;
  const { byId } = elements;
  const shares = Array.from({ length: STEPS + 1 }, (_, step) => step / STEPS);
  const text = (step) => ({ 0: "A", [STEPS]: "B" })[step] ?? `${step}/${STEPS}`;
  const strip = createStrip({
    holder: byId("strip"),
    items: shares.map((share, step) => ({ text: text(step), name: captions.between(share) })),
    decode,
    pictures,
    onPick: (step) => goToShare(shares[step]),
  });

  const isOn = ({ origin, pin, moved }) => origin.kind === "between" && origin.from === pin && moved.size === 0;
  const isSum = ({ origin, pin }) => origin.kind === "sum" && origin.from === pin;

  // The address of B: what is shown, unless that is itself on the path or a sum with its change.
  const end = () => (isOn(state()) || isSum(state()) ? state().origin.to : origins.own(state()));

  // Goes to a share of the way, which stays.
  function goToShare(share) {
    const { pin, way } = state();
    if (share === 1) goTo(`${end()}&pin=${encodeURIComponent(pin)}&way=${way}`);
    else go({ kind: "between", share, spherical: way === "spherical", from: pin, to: end() });
  }

  function setWay(way) {
    const { origin } = state();
    set({ way }, `${way === "straight" ? "Straight" : "Spherical"} path`);
    if (isOn(state())) go({ ...origin, spherical: way === "spherical" });
  }

  // Adds the change to what is shown, or shows that without it again.
  function add() {
    const { origin, pin, way } = state();
    if (isSum(state())) goTo(`${origin.of}&pin=${encodeURIComponent(pin)}&way=${way}`);
    else go(origins.sum(origins.own(state()), pin, end()));
  }

  for (const way of ["straight", "spherical"]) byId(way).addEventListener("click", () => setWay(way));
  byId("add").addEventListener("click", add);
  byId("pin").addEventListener("click", () => set({ pin: origins.own(state()) }, "Pinned as A"));
  byId("unpin").addEventListener("click", () => {
    set({ pin: null }, "Unpinned");
    byId("pin").focus();
  });

  return {
    // What the lesson on a path is about, whichever of its images is shown.
    id: () => (state().pin ? `${state().pin} ${end()}` : origins.own(state())),
    // An origin that has been chosen, to which the change is added while it is to be added.
    chosen(origin) {
      if (!isSum(state())) return origin;
      return origins.sum(origins.own({ origin, moved: new Set() }), state().pin, end());
    },
    // Shows the way to what is shown, if a code is pinned. Returns what is on the way.
    show() {
      const { pin, way, origin } = state();
      const from = pin && origins.find(pin);
      byId("path").hidden = !from;
      if (!from) return [];
      byId("straight").ariaPressed = way === "straight";
      byId("spherical").ariaPressed = way === "spherical";
      byId("add").ariaPressed = isSum(state());
      const to = isOn(state()) || isSum(state()) ? origins.find(origin.to) : state();
      const codes = shares.map((share) => coordinates.between(from.code, to.code, share, way === "spherical"));
      strip(codes, isSum(state()) ? -1 : shares.indexOf(isOn(state()) ? origin.share : 1));
      byId("path-ends").textContent = captions.path(describe(from), describe(to), isSum(state()));
      const inner = codes.slice(1, -1).map((code) => ({ origin: { kind: "between" }, code, moved: new Set() }));
      return [from, ...inner, to];
    },
  };
};
