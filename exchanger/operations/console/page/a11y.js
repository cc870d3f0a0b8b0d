// What makes the page usable without eyes or mouse: announcements that do not flood, tabs, and dialogs that ask.
// Must not know: what is announced, or what the tabs hold.

import { byId, el, say } from "./dom.js";

const APART = 10_000; // ms between announcements of the stream: a sentence takes some seconds to be read out
const REMEMBERED = 5; // sentences that stay in the log region
const SEEN = 6_000; // ms for which a notice is seen

let hiding = null;

/** Tell `text` to screen readers, at once. */
export function announce(text) {
  const region = byId("polite");
  region.append(el("p", { text }));
  while (region.children.length > REMEMBERED) region.firstChild.remove();
}

/** Tell `text` to everybody: to screen readers, and for some seconds to eyes. */
export function notify(text) {
  announce(text);
  const toast = byId("toast");
  say(toast, text);
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (toast.hidden = true), SEEN);
}

/** Return a function that gathers news and tells them together, now and then: `compose(news)` makes the sentence of all since the last. */
export function announcer(compose) {
  let gathered = [];
  let timer = null;
  return (news) => {
    gathered.push(news);
    timer ??= setTimeout(() => {
      const sentence = compose(gathered);
      gathered = [];
      timer = null;
      if (sentence) announce(sentence);
    }, APART);
  };
}

/**
 * Return tabs after the WAI-ARIA pattern (https://www.w3.org/WAI/ARIA/apg/patterns/tabs/): arrows, Home and End move and choose.
 * `tabs` are `{id, title}`; `show(id, panel)` fills the one panel. `choose(id)` is for those who choose otherwise.
 */
export function makeTabs(label, tabs, show) {
  let current = null;
  const panel = el("div", { role: "tabpanel", id: "tab-panel", tabindex: "0", class: "tab-panel" });
  const buttons = tabs.map(({ id, title }) =>
    el("button", {
      type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "tab-panel", "aria-selected": "false", tabindex: "-1", text: title,
      on: { click: () => choose(id) },
    }));
  const list = el("div", { role: "tablist", "aria-label": label, class: "tabs", on: { keydown } }, buttons);

  function keydown(event) {
    const at = tabs.findIndex(({ id }) => id === current);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const { id } = tabs[(next + tabs.length) % tabs.length];
    choose(id);
    byId(`tab-${id}`).focus();
  }

  function choose(id) {
    current = id;
    for (const button of buttons) {
      const chosen = button.id === `tab-${id}`;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${id}`);
    panel.scrollTop = 0;
    show(id, panel);
  }

  return { list, panel, choose, current: () => current };
}

/** Ask a question in a modal dialog and return whether the answer is yes. Focus goes back by itself. */
export function ask(title, text, yes) {
  const dialog = byId("confirm");
  say(byId("confirm-title"), title);
  say(byId("confirm-text"), text);
  say(byId("confirm-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

/** Put `text` on the clipboard. Where the browser has none to offer (plain http on another host), the old way. Returns whether it worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "vh", "aria-hidden": "true" });
    area.value = text;
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus();
    return done;
  }
}
