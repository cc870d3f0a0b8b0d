// Keyboard shortcuts and the dialog that lists them. They rest while somebody writes in a field or a dialog is open.
// Single letters are only taken without Ctrl, Alt or Meta, which belong to the browser, and can be switched off: those who speak to their
// computer would set them off by chance (WCAG 2.1.4).

import { byId, el, put } from "./dom.js";

const FIELDS = "input, textarea, select, [contenteditable]";

/** `shortcuts` are `{keys, text, run}`; `run(event)` returns false to leave the key to the browser. */
export function setUpKeys(shortcuts) {
  const on = switchBox();
  const actions = new Map();
  for (const { keys, run } of shortcuts) for (const key of keys) actions.set(key, run);
  put(byId("help-keys"), shortcuts.map(({ keys, text }) => [
    el("dt", {}, keys.map((key) => el("kbd", { text: key }))),
    el("dd", { text }),
  ]), el("dt", {}, el("kbd", { text: "Ctrl" }), el("kbd", { text: "S" })), el("dd", { text: "save the policy file that is edited" }));

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const action = actions.get(event.key);
    if (!action || document.querySelector("dialog[open]") || (event.key.length === 1 && !on.checked)) return;
    const target = event.target instanceof Element ? event.target : null;
    if (event.key !== "Escape" && target?.closest(FIELDS)) return;
    if (action(event) !== false) event.preventDefault();
  });
}

/** Return the box that switches single letters off; the choice stays in this browser. */
function switchBox() {
  const box = byId("help-on");
  try {
    box.checked = localStorage.getItem("exchanger-keys") !== "off";
  } catch {
    box.checked = true;
  }
  box.addEventListener("change", () => {
    try {
      if (box.checked) localStorage.removeItem("exchanger-keys");
      else localStorage.setItem("exchanger-keys", "off");
    } catch {
      // It holds for this page, then.
    }
  });
  return box;
}

/** Show the list of shortcuts. */
export function showHelp() {
  byId("help").showModal();
}
