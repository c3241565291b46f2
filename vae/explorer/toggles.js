"use strict";

// Buttons that are on or off, a map by their keys. Those that are on are a part of the address, with a name. It calls
// onChange(keys) with them, a set.
const createToggles = ({ name, buttons, onChange }) => {
  const on = new Set();
  function set(wanted) {
    for (const [key, button] of buttons) {
      on[wanted(key) ? "add" : "delete"](key);
      button.ariaPressed = on.has(key);
    }
    onChange(on);
  }
  for (const [key, button] of buttons) {
    button.addEventListener("click", () => set((each) => on.has(each) !== (each === key)));
  }
  return {
    write: () => (on.size ? `${name}=${[...on]}` : ""),
    read(parts) {
      const keys = (parts.get(name) ?? "").split(",");
      set((key) => keys.includes(String(key)));
    },
  };
};
