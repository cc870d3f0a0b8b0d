// The flow tab: a sequence diagram of one request, and the same in words below it.

import { el, put, svg } from "../dom.js";
import { plural, took } from "../format.js";
import { flow, sharers } from "./steps.js";
import { section } from "./tokens.js";

const STEP = 46;
const HEAD = 62;
const LABELLED = 88; // px between lanes from which on labels fit onto the arrows

export function showFlow(panel, item, { store, open }) {
  const siblings = sharers(item, store.all((other) => other.exchange));
  const { lanes, steps } = flow(item, siblings.length);
  const canvas = el("div", { class: "flow-canvas" });
  put(panel, canvas, timeBar(item),
    el("h3", { text: "Step by step" }),
    el("ol", { class: "steps" }, steps.map((step) => el("li", { class: step.tone ? `tone-${step.tone}` : null, text: step.text }))),
    item.mismatch && proof(item.mismatch),
    siblings.length > 0 && [
      el("h3", { text: "Shared with" }),
      el("ul", { class: "sharers" }, siblings.slice(-20).map((other) => el("li", {},
        el("button", { type: "button", class: "link", text: `${other.method} ${other.host}${other.path}`, on: { click: () => open(other) } }),
        el("span", { class: "muted", text: other.exchange.coalesced ? " joined the call" : " made the call" })))),
    ]);
  let width = 0;
  const draw = () => {
    const now = Math.floor(canvas.clientWidth);
    if (!now || now === width) return;
    width = now;
    put(canvas, diagram(lanes, steps, width, item));
  };
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  draw();
  return () => observer.disconnect();
}

/** Return what was requested beside what was issued, where that is why there is no token. */
function proof({ claim, requested, issued }) {
  const claims = (side) => ({ claims: Object.fromEntries(Object.entries(side).filter(([, text]) => text)) });
  const title = claim ? `Requested and issued: ${claim} is wrong` : "Requested and issued";
  return section(title, claims(requested), claims(issued), "claims", ["requested", "issued"]);
}

/** Return a bar of where the time went: own work, and waiting for the token endpoint. */
function timeBar(item) {
  const first = item.exchange?.first_leg;
  const waited = Math.min((item.exchange?.duration_ms ?? 0) + (first && !first.failed ? first.duration_ms ?? 0 : 0), item.duration_ms);
  const own = item.duration_ms - waited;
  const text = item.exchange
    ? `${took(item.duration_ms)} in the exchanger, ${took(waited)} of it waiting for the token endpoint.`
    : `${took(item.duration_ms)} in the exchanger; no other service was called.`;
  const bar = el("div", { class: "time-bar", "aria-hidden": "true" }, el("span", { class: "own" }), item.exchange && el("span", { class: "waited" }));
  bar.children[0].style.flexGrow = String(Math.max(own, item.duration_ms * 0.02, 0.001));
  if (item.exchange) bar.children[1].style.flexGrow = String(waited);
  return el("div", { class: "time" }, bar, el("p", { class: "muted", text }));
}

function diagram(lanes, steps, width, item) {
  const gap = width / lanes.length;
  const wide = gap >= LABELLED;
  const x = new Map(lanes.map(({ id }, i) => [id, gap * (i + 0.5)]));
  const height = HEAD + steps.length * STEP + 14;
  const at = (i) => HEAD + i * STEP + STEP / 2;
  const arrows = steps.map((step, i) => (step.from === step.to ? here(step, i, x.get(step.from), at(i), wide, gap) : arrow(step, i, x.get(step.from), x.get(step.to), at(i), wide)));
  const start = steps.findIndex(({ to }) => to === "exchanger");
  const end = steps.findIndex(({ from, to }) => from === "exchanger" && to === "gateway");
  return svg("svg", {
    class: "flow", width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Sequence of ${plural(steps.length, "step")}: ${item.method} ${item.host}${item.path} ${item.result === "allowed" ? "goes on to the upstream" : `ends with ${item.status}`}. The steps are listed below.`,
  },
    lanes.map((lane) => laneHead(lane, x.get(lane.id), gap, height)),
    svg("rect", { class: "active", x: x.get("exchanger") - 4, y: at(start), width: 8, height: at(end) - at(start), rx: 4 }),
    lanes.map(({ id }) => ["first", "issuer"].includes(id) && waiting(steps, id, x.get(id), at)),
    arrows);
}

function laneHead({ title, note, reached }, x, gap, height) {
  const room = Math.floor(gap / 6.4);
  const words = gap < 88 && title.includes(" ") ? title.split(" ") : [title];
  const lines = words.length > 1 ? words : [title, note].filter(Boolean);
  return svg("g", { class: reached ? "lane" : "lane out" },
    svg("path", { class: "life", d: `M${x} ${HEAD - 16}V${height - 6}` }),
    lines.slice(0, 2).map((text, i) => svg("text", { class: i === 0 || words.length > 1 ? "lane-title" : "lane-note", x, y: 18 + i * 15, "text-anchor": "middle", text: cut(text, room) })),
    !reached && svg("text", { class: "lane-note", x, y: height - 10, "text-anchor": "middle", text: gap < 70 ? "–" : "not asked" }));
}

function waiting(steps, lane, x, at) {
  const ask = steps.findIndex(({ to }) => to === lane);
  const answer = steps.findIndex(({ from }) => from === lane);
  return ask >= 0 && svg("rect", { class: steps[ask].dashed ? "active shared-call" : "active", x: x - 4, y: at(ask), width: 8, height: at(answer) - at(ask), rx: 4 });
}

function arrow(step, i, from, to, y, wide) {
  const sign = Math.sign(to - from);
  const [start, end] = [from + sign * 5, to - sign * 6];
  const middle = (from + to) / 2;
  return svg("g", { class: `step tone-${step.tone || "plain"}${step.dashed ? " dashed" : ""}` },
    svg("path", { class: "shaft", d: `M${start} ${y}H${end}` }),
    svg("path", { class: "tip", d: `M${end - sign * 7} ${y - 4.5}L${end} ${y}L${end - sign * 7} ${y + 4.5}` }),
    wide
      ? svg("text", { class: "step-label", x: middle, y: y - 8, "text-anchor": "middle", text: `${i + 1}  ${cut(step.label, Math.abs(to - from) / 7.2)}` })
      : svg("text", { class: "step-label", x: middle, y: y - 7, "text-anchor": "middle", text: String(i + 1) }),
    wide && step.took !== null && svg("text", { class: "step-time", x: middle, y: y + 15, "text-anchor": "middle", text: took(step.took) }));
}

function here(step, i, x, y, wide, gap) {
  const label = wide ? `${i + 1}  ${cut(step.label, (gap * 1.6) / 7.2)}` : String(i + 1);
  const width = wide ? Math.max(34, label.length * 6.9 + 14) : 24;
  return svg("g", { class: `step here tone-${step.tone || "plain"}` },
    svg("rect", { x: x - width / 2, y: y - 12, width, height: 24, rx: 12 }),
    svg("text", { class: "step-label", x, y: y + 4, "text-anchor": "middle", text: label }));
}

/** Return at most `room` characters, with an ellipsis where some are left out. */
function cut(text, room) {
  const most = Math.max(2, Math.floor(room));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

