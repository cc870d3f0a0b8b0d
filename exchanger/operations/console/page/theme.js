// The switch between the system's colours, light and dark ones. The choice stays in this browser; `theme_early.js` sets it on the next load.

import { announce } from "./a11y.js";
import { icon, put } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];
const WORDS = { auto: "same as the system", light: "light", dark: "dark" };

export function setUpTheme(button) {
  const root = document.documentElement;
  show();
  button.addEventListener("click", () => {
    const next = CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length];
    root.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("exchanger-theme");
      else localStorage.setItem("exchanger-theme", next);
    } catch {
      // It holds for this page, then.
    }
    show();
    announce(`Colours: ${WORDS[next]}`);
  });

  function show() {
    const now = root.dataset.theme;
    put(button, icon(now));
    button.setAttribute("aria-label", `Colours: ${WORDS[now]}`);
    button.title = `Colours: ${WORDS[now]}`;
  }
}
