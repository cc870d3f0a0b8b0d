// The panel of the live view that shows one request: a head, and tabs that fill themselves. On phones it covers the page.

import { makeTabs } from "../a11y.js";
import { badge, clientStatus, describe } from "../decisions.js";
import { button, byId, el, put } from "../dom.js";
import { clock, took } from "../format.js";
import { showFlow } from "./flow.js";
import { showLog } from "./log.js";
import { showPolicy } from "./policy.js";
import { showResponse } from "./response.js";
import { showTokens } from "./tokens.js";

const TABS = [
  { id: "flow", title: "Flow", show: showFlow },
  { id: "policy", title: "Policy", show: showPolicy },
  { id: "tokens", title: "Tokens", show: showTokens },
  { id: "response", title: "Response", show: showResponse },
  { id: "log", title: "Log", show: showLog },
];
const PHONE = matchMedia("(max-width: 760px)");

export class Panel {
  #context;
  #onClose;
  #onStep;
  #aside = byId("detail");
  #title = el("h2", { id: "detail-title" }); // one for all requests, so that the focus stays on it
  #tabs;
  #item = null;
  #leave = null; // what the shown tab wants to have called when it goes
  #cameFrom = null;

  /** `context` is what tabs need: api, store, about(), open(item). `onClose()` and `onStep(±1)` are told what somebody wants. */
  constructor(context, { onClose, onStep }) {
    this.#context = context;
    this.#onClose = onClose;
    this.#onStep = onStep;
    this.#tabs = makeTabs("What to show of the request", TABS, (id, panel) => this.#show(id, panel));
    PHONE.addEventListener("change", () => this.#cover());
    new ResizeObserver(() => this.#reach()).observe(this.#title);
  }

  get item() {
    return this.#item;
  }

  get isOpen() {
    return this.#item !== null;
  }

  /** Whether the panel is all that can be seen. */
  get covers() {
    return PHONE.matches && this.isOpen;
  }

  /** Show `item`. The tab stays the one that was chosen before, so that requests can be compared. */
  open(item) {
    const first = !this.isOpen;
    if (first) this.#cameFrom = document.activeElement;
    this.#item = item;
    if (first) {
      this.#aside.hidden = false;
      put(this.#aside, this.#bar(), el("div", { class: "detail-head" }, this.#title, el("div", { class: "detail-about" })), this.#tabs.list, this.#tabs.panel);
    }
    this.#head();
    this.#tabs.choose(this.#tabs.current() ?? "flow");
    this.#cover();
    if (PHONE.matches && first) byId("detail-close").focus();
  }

  /** Hide the panel, and return whether the focus has to go elsewhere: it was in the panel, and where it came from is no place any more. */
  close() {
    const lost = this.#aside.contains(document.activeElement) || this.covers;
    this.#item = null;
    this.#leave?.();
    this.#leave = null;
    this.#aside.hidden = true;
    put(this.#aside);
    this.#cover();
    const from = this.#cameFrom;
    if (!lost || !from?.checkVisibility() || from === document.body) return lost;
    from.focus();
    return false;
  }

  /** Fill the tab again: what it shows depends on more than the request. */
  redraw() {
    if (this.isOpen) this.#tabs.choose(this.#tabs.current());
  }

  /** On a phone the panel is all there is, so the rest cannot be reached. */
  #cover() {
    const covered = this.covers;
    byId("main").inert = covered;
    document.querySelector(".top").inert = covered;
    document.body.classList.toggle("covered", covered);
  }

  /** The buttons stay while the panel goes from request to request, so that the focus does. */
  #bar() {
    const move = (symbol, steps, label) => button("", () => this.#onStep(steps), { kind: "plain", symbol, label });
    return el("div", { class: "detail-bar" }, el("span", { class: "decision" }),
      move("up", -1, "The previous request in the list"), move("down", 1, "The next request in the list"),
      button("", () => this.#onClose(), { kind: "plain", symbol: "close", label: "Close the detail", id: "detail-close", "aria-keyshortcuts": "Escape" }));
  }

  #head() {
    const item = this.#item;
    const { sentence } = describe(item.decision);
    const [bar, head] = this.#aside.children;
    const status = clientStatus(item);
    put(bar.firstElementChild, badge(item.decision), status !== null && el("span", { class: "nums status", text: `client got ${status}` }));
    put(this.#title, el("span", { class: "method", text: item.method }), " ", `${item.host}${item.path}`);
    this.#title.scrollTop = 0;
    put(head.lastElementChild,
      el("p", { class: "muted" }, item.detail && item.result !== "allowed" ? item.detail : sentence),
      el("p", { class: "meta" },
        el("time", { datetime: item.time, title: item.time, text: clock(item.at) }), el("span", { text: took(item.duration_ms) }),
        item.diagnostic && el("span", { class: "code-mark", text: item.diagnostic }),
        item.trace_id && el("span", { class: "trace" }, "trace ", el("code", { text: item.trace_id }))));
    this.#reach();
  }

  /** A long path scrolls by itself, and what scrolls has to be reached by keyboard. */
  #reach() {
    const title = this.#title;
    if (title.scrollHeight > title.clientHeight) title.tabIndex = 0;
    else if (title !== document.activeElement) title.removeAttribute("tabindex");
  }

  #show(id, panel) {
    this.#leave?.();
    this.#aside.scrollTop = 0; // where the panel scrolls as a whole
    this.#leave = TABS.find((tab) => tab.id === id).show(panel, this.#item, this.#context) ?? null;
  }
}
