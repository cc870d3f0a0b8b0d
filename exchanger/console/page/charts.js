// Three small charts of the last two minutes, drawn by hand: decisions a second, latency, and exchanges that were saved.
// Each says in words what it shows (`aria-label`), and its figures stand beside it. Must not know: where totals come from.

import { FAMILIES } from "./decisions.js";
import { byId, el, icon, onFrame, put, say, svg } from "./dom.js";
import { count, percent, plural, rate, took } from "./format.js";
import { SECONDS, Series } from "./series.js";

const WIDTH = 240;
const HEIGHT = 64;
const DECADES = [1, 10, 100, 1000]; // ms: lines of the latency's logarithmic scale
const FLOOR = 0.25; // ms: where that scale begins; buckets tell nothing finer than their first bound, 1 ms

export class Charts {
  #series = new Series();
  #draw = onFrame(() => this.#drawNow());
  #rate = card("rate", "Requests", "decisions a second, by kind");
  #latency = card("latency", "Latency", "half and 99 of 100 requests, estimated from buckets");
  #saved = card("saved", "Shared exchanges", "equal exchanges at the same time make one call");
  #legend = new Map();

  /** `onFamily(id)` filters by a family; it returns whether the filter is on now. */
  constructor(onFamily) {
    const box = byId("charts");
    put(box, this.#rate.node, this.#latency.node, this.#saved.node);
    // On phones they scroll sideways, and what scrolls has to be reached by keyboard.
    new ResizeObserver(() => (box.scrollWidth > box.clientWidth ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex"))).observe(box);
    for (const { id, word } of FAMILIES) {
      const number = el("span", { class: "nums" });
      const button = el("button", { type: "button", class: `key f-${id}`, hidden: true, title: `Show only: ${word}`, on: { click: () => onFamily(id) } },
        icon(id), el("span", { text: word }), number);
      this.#legend.set(id, { button, number });
      this.#rate.legend.append(button);
    }
    this.#drawNow();
  }

  push(totals) {
    this.#series.push(totals);
    this.#draw();
  }

  #drawNow() {
    this.#drawRate();
    this.#drawLatency();
    this.#drawSaved();
  }

  #drawRate() {
    const rates = this.#series.rates();
    const now = rates.at(-1);
    const most = Math.max(1, ...rates.map(({ total }) => total));
    const sums = this.#series.sums().families;
    const x = timeScale(rates);
    const base = rates.map(() => 0);
    const areas = FAMILIES.map(({ id }) => {
      const lower = [...base];
      rates.forEach(({ families }, i) => (base[i] += families[id]));
      return sums[id] > 0 && svg("path", { class: `area f-${id}`, d: area(rates, x, (i) => y(lower[i] / most), (i) => y(base[i] / most)) });
    });
    put(this.#rate.plot, ...areas);
    say(this.#rate.number, now ? rate(now.total) : "–");
    say(this.#rate.top, rates.length ? rate(most) : "");
    for (const [id, { button, number }] of this.#legend) {
      button.hidden = !sums[id];
      say(number, rate(now?.families[id] ?? 0));
    }
    const parts = FAMILIES.filter(({ id }) => sums[id] > 0).map(({ id, word }) => `${count(sums[id])} ${word}`);
    this.#rate.describe(now ? `Decisions of the last two minutes: now ${rate(now.total)}, at most ${rate(most)}; ${parts.join(", ") || "none"}.` : "No figures yet.");
  }

  #drawLatency() {
    const points = this.#series.latency();
    const now = points.at(-1);
    const top = 2500;
    const scale = (ms) => y(Math.log(Math.max(ms, FLOOR) / FLOOR) / Math.log(top / FLOOR));
    const x = timeScale(points);
    this.#latency.setScale(DECADES.map((ms) => [scale(ms) / HEIGHT, ms < 1000 ? `${ms} ms` : `${ms / 1000} s`]));
    put(this.#latency.plot,
      DECADES.map((ms) => svg("path", { class: "grid-line", d: `M0 ${scale(ms)}H${WIDTH}` })),
      svg("path", { class: "line p99", d: line(points, x, ({ p99 }) => p99 && scale(p99.value)) }),
      svg("path", { class: "line p50", d: line(points, x, ({ p50 }) => p50 && scale(p50.value)) }));
    const text = (found) => (found ? `${found.open ? "> " : ""}${took(found.value)}` : "–");
    say(this.#latency.number, text(now?.p50));
    this.#latency.setKeys([["p50", "half below", text(now?.p50)], ["p99", "99 % below", text(now?.p99)]]);
    this.#latency.describe(now?.p50 ? `Latency of the last ten seconds: half below ${text(now.p50)}, 99 of 100 below ${text(now.p99)}.` : "No requests in the last ten seconds.");
  }

  #drawSaved() {
    const points = this.#series.saved();
    const { exchanges, coalesced } = this.#series.sums();
    const x = timeScale(points);
    const height = ({ share }) => (share === null ? null : y(share));
    put(this.#saved.plot,
      svg("path", { class: "grid-line", d: `M0 ${y(0.5)}H${WIDTH}` }),
      svg("path", { class: "line saved", d: line(points, x, height) }));
    say(this.#saved.number, exchanges ? percent(coalesced / exchanges) : "–");
    say(this.#saved.top, "100 %");
    this.#saved.setKeys([["saved", "shared", `${count(coalesced)} of ${count(exchanges)}`]]);
    this.#saved.describe(`${count(coalesced)} of ${plural(exchanges, "exchange")} in the last two minutes shared a call that was under way.`);
  }
}

/** Return the parts of one chart's card. */
function card(id, title, hint) {
  const number = el("span", { class: "number nums" });
  const top = el("span", { class: "top-label nums", "aria-hidden": "true" });
  const legend = el("div", { class: "legend" });
  const keys = new Map();
  const scale = el("div", { "aria-hidden": "true" });
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "plot" });
  const node = el("section", { class: `chart chart-${id}`, "aria-labelledby": `chart-${id}` },
    el("div", { class: "chart-head" }, el("h2", { id: `chart-${id}`, text: title }), number),
    el("p", { class: "hint", text: hint }),
    el("div", { class: "plot-box" }, plot, scale, top, el("span", { class: "from", "aria-hidden": "true", text: "2 min ago" }), el("span", { class: "to", "aria-hidden": "true", text: "now" })),
    legend);
  return {
    node, number, top, legend, plot,
    describe: (text) => plot.setAttribute("aria-label", text),
    /** Name heights of the plot: `[share from the top, text]`; once, since they stay. */
    setScale(labels) {
      if (scale.childElementCount) return;
      for (const [share, text] of labels) {
        const label = el("span", { class: "scale nums", text });
        label.style.top = `calc((100% - 17px) * ${share})`;
        scale.append(label);
      }
    },
    /** Show `[class, word, figure]` below the chart. */
    setKeys(entries) {
      for (const [kind, word, figure] of entries) {
        if (!keys.has(kind)) {
          const figureNode = el("span", { class: "nums" });
          keys.set(kind, figureNode);
          legend.append(el("span", { class: "key" }, el("span", { class: `stroke ${kind}`, "aria-hidden": "true" }), el("span", { text: word }), figureNode));
        }
        say(keys.get(kind), figure);
      }
    },
  };
}

/** Return where a share from 0 to 1 is, upside down as screens count, with room for the line's own width. */
const y = (share) => round(HEIGHT - 1 - share * (HEIGHT - 3));

const round = (n) => Math.round(n * 10) / 10;

/** Return x by index: the newest at the right, two minutes over the whole width. */
function timeScale(points) {
  const now = points.at(-1)?.time ?? 0;
  return (i) => round(WIDTH - ((now - points[i].time) / (SECONDS * 1000)) * WIDTH);
}

function area(points, x, lower, upper) {
  if (!points.length) return "";
  const there = points.map((_, i) => `${x(i)} ${upper(i)}`);
  const back = points.map((_, i) => `${x(i)} ${lower(i)}`).reverse();
  return `M${[...there, ...back].join("L")}Z`;
}

/** Return a path through the points that have a value, with gaps where there is none. */
function line(points, x, height) {
  let path = "";
  let pen = "M";
  points.forEach((point, i) => {
    const at = height(point);
    if (at === null) {
      pen = "M";
      return;
    }
    path += `${pen}${x(i)} ${at}`;
    if (pen === "M") path += "h0.1"; // a lone point is seen, too
    pen = "L";
  });
  return path;
}
