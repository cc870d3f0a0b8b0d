// One chart's card: title, figures, plot and legend, and the paths that are drawn in it. Must not know: what is drawn.

import { el, say, svg } from "./dom.js";
import { SECONDS } from "./series.js";

export const WIDTH = 240;
export const HEIGHT = 64;

/** Return the parts of one chart's card. */
export function card(id, title, hint) {
  const number = el("span", { class: "number nums" });
  const top = el("span", { class: "top-label nums", "aria-hidden": "true" });
  const legend = el("div", { class: "legend" });
  const keys = new Map();
  const scale = el("div", { "aria-hidden": "true" });
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "plot" });
  const hintNode = el("p", { class: "hint", text: hint });
  const node = el("section", { class: `chart chart-${id}`, "aria-labelledby": `chart-${id}` },
    el("div", { class: "chart-head" }, el("h2", { id: `chart-${id}`, text: title }), number),
    hintNode,
    el("div", { class: "plot-box" }, plot, scale, top, el("span", { class: "from", "aria-hidden": "true", text: "2 min ago" }), el("span", { class: "to", "aria-hidden": "true", text: "now" })),
    legend);
  return {
    node, number, top, legend, plot,
    hint: (text) => say(hintNode, text),
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
export const y = (share) => round(HEIGHT - 1 - share * (HEIGHT - 3));

const round = (n) => Math.round(n * 10) / 10;

/** Return x by index: the newest at the right, two minutes over the whole width. */
export function timeScale(points) {
  const now = points.at(-1)?.time ?? 0;
  return (i) => round(WIDTH - ((now - points[i].time) / (SECONDS * 1000)) * WIDTH);
}

export function area(points, x, lower, upper) {
  if (!points.length) return "";
  const there = points.map((_, i) => `${x(i)} ${upper(i)}`);
  const back = points.map((_, i) => `${x(i)} ${lower(i)}`).reverse();
  return `M${[...there, ...back].join("L")}Z`;
}

/** Return a path through the points that have a value, with gaps where there is none. */
export function line(points, x, height) {
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
