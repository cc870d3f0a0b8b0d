// Four small charts of the last two minutes, drawn by hand: decisions a second, errors, latency, and exchanges that were saved.
// Each says in words what it shows (`aria-label`), and its figures stand beside it. Must not know: where totals come from.

import { HEIGHT, WIDTH, area, card, line, timeScale, y } from "./chart_card.js";
import { FAMILIES } from "./decisions.js";
import { byId, el, icon, onFrame, put, say, svg } from "./dom.js";
import { ERRORS } from "./filter.js";
import { count, percent, plural, rate, took } from "./format.js";
import { SECONDS, Series } from "./series.js";

const DECADES = [1, 10, 100, 1000]; // ms: lines of the latency's logarithmic scale
const FLOOR = 0.25; // ms: where that scale begins; buckets tell nothing finer than their first bound, 1 ms
const SPARSE = SECONDS; // decisions in the two minutes: with fewer than one a second, a rate is 0/s most of the time
const LEAST_ERRORS = 0.05; // share at the top of the errors' scale at least, so that one error in a thousand looks like one

export class Charts {
  #series = new Series();
  #draw = onFrame(() => this.#drawNow());
  #rate = card("rate", "Requests", "decisions per second, by kind");
  #errors = card("errors", "Error rate", "answered with 5xx, last two minutes");
  #latency = card("latency", "Latency", "p50 and p99 of ten seconds (estimated)");
  #saved = card("saved", "Shared exchanges", "identical exchanges share one call");
  #legend = new Map();
  #counted = el("span", { class: "nums" });

  /** `onDecision(filter, word)` shows only these decisions. */
  constructor(onDecision) {
    put(byId("charts"), this.#rate.node, this.#errors.node, this.#latency.node, this.#saved.node);
    const only = el("button", { type: "button", class: "key", title: "Show only: client got 5xx", on: { click: () => onDecision(ERRORS, "client got 5xx") } },
      el("span", { class: "stroke errors", "aria-hidden": "true" }), el("span", { text: "5xx" }), this.#counted);
    this.#errors.legend.append(only);
    for (const { id, word } of FAMILIES) {
      const number = el("span", { class: "nums" });
      const button = el("button", { type: "button", class: `key f-${id}`, hidden: true, title: `Show only: ${word}`, on: { click: () => onDecision(`family:${id}`, word) } },
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

  /** Start from what the service knows of the last minutes. */
  fill(history) {
    this.#series.fill(history);
    this.#draw();
  }

  #drawNow() {
    this.#drawRate();
    this.#drawErrors();
    this.#drawLatency();
    this.#drawSaved();
  }

  #drawRate() {
    const rates = this.#series.rates();
    const now = rates.at(-1);
    const most = Math.max(1, ...rates.map(({ total }) => total));
    const { families: sums, decided } = this.#series.sums();
    const sparse = decided < SPARSE;
    const x = timeScale(rates);
    const base = rates.map(() => 0);
    const areas = FAMILIES.map(({ id }) => {
      const lower = [...base];
      rates.forEach(({ families }, i) => (base[i] += families[id]));
      return sums[id] > 0 && svg("path", { class: `area f-${id}`, d: area(rates, x, (i) => y(lower[i] / most), (i) => y(base[i] / most)) });
    });
    put(this.#rate.plot, ...areas);
    say(this.#rate.number, !now ? "–" : sparse ? `${decided} in two minutes` : rate(now.total));
    this.#rate.hint(sparse ? "decisions, by kind" : "decisions per second, by kind");
    say(this.#rate.top, rates.length ? rate(most) : "");
    for (const [id, { button, number }] of this.#legend) {
      button.hidden = !sums[id];
      say(number, sparse ? count(sums[id]) : rate(now?.families[id] ?? 0));
    }
    const parts = FAMILIES.filter(({ id }) => sums[id] > 0).map(({ id, word }) => `${count(sums[id])} ${word}`);
    const figures = sparse ? "" : `now ${rate(now.total)}, at most ${rate(most)}; `;
    this.#rate.describe(now ? `Decisions of the last two minutes: ${figures}${parts.join(", ") || "none"}.` : "No figures yet.");
  }

  #drawErrors() {
    const points = this.#series.errors();
    const { decided, errors } = this.#series.sums();
    const top = Math.max(LEAST_ERRORS, ...points.map(({ share }) => share ?? 0));
    const x = timeScale(points);
    put(this.#errors.plot,
      svg("path", { class: "grid-line", d: `M0 ${y(0.5)}H${WIDTH}` }),
      svg("path", { class: "line errors", d: line(points, x, ({ share }) => (share === null ? null : y(share / top))) }));
    const share = decided ? percent(errors / decided) : "–";
    say(this.#errors.number, share);
    this.#errors.number.classList.toggle("bad", errors > 0);
    say(this.#errors.top, percent(top));
    say(this.#counted, `${count(errors)} of ${count(decided)}`);
    this.#errors.describe(decided ? `In the last two minutes ${count(errors)} of ${count(decided)} clients got a 5xx: ${share}.` : "No requests in the last two minutes.");
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
    const [p50, p99] = [text(now?.p50), text(now?.p99)];
    say(this.#latency.number, `p99 ${p99}`);
    this.#latency.setKeys([["p50", "p50", p50], ["p99", "p99", p99]]);
    this.#latency.describe(now?.p50 ? `Latency of the last ten seconds: p50 ${p50}, p99 ${p99}.` : "No requests in the last ten seconds.");
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
    this.#saved.describe(`${count(coalesced)} of ${plural(exchanges, "exchange")} in the last two minutes shared a call in progress.`);
  }
}
