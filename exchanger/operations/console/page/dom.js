// Making elements. Text from the service always becomes a text node or an attribute's value; nothing here parses HTML.
// Must not know: what is shown, or where it comes from.

const SVG = "http://www.w3.org/2000/svg";

/** Return the element with this id, which the skeleton has. */
export const byId = (id) => document.getElementById(id);

/**
 * Return a new element. `props`: `on` has listeners, `data` goes to dataset, `text` is its text, `true` sets an empty attribute, and
 * `null`, `undefined` and `false` leave one out. Children are nodes or text; those that are null or false are left out.
 */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** Return a new SVG element; see `el`. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...flat(children));
  return node;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put `children` in the place of what `node` has. */
export function put(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

/** Set the text only where it differs: a live region would repeat itself, and layout would be redone for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Return one of the skeleton's icons. It says nothing to those who cannot see it, so a word goes with it. */
export function icon(name, extra = "") {
  return svg("svg", { class: `icon ${extra}`.trim(), "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));
}

/** Return a button. */
export function button(text, onClick, { kind = "quiet", symbol = null, label = null, ...rest } = {}) {
  return el("button", { type: "button", class: kind, "aria-label": label, on: { click: onClick }, ...rest }, symbol && icon(symbol), text && el("span", { text }));
}

/**
 * Switch a button off, or on again. `disabled` would take the keyboard's focus from it, and leave it nowhere; so it is only said to be off, and
 * whoever it is pressed for has to look.
 */
export function switchOff(node, off) {
  node.setAttribute("aria-disabled", String(off));
}

/** Tell whether a button is switched off. */
export const isOff = (node) => node.getAttribute("aria-disabled") === "true";

/**
 * Return a table with a head, in a box that scrolls sideways by itself and can be reached by keyboard. One that `stacks` has its cells below each other on
 * a phone, each after its heading.
 */
export function table(caption, heads, rows, { showCaption = false, className = "", stacks = false } = {}) {
  for (const row of stacks ? rows : []) [...row.children].forEach((cell, i) => { cell.dataset.label = heads[i]; });
  return el("div", { class: `table-box ${stacks ? "stacks" : ""} ${className}`.trim(), role: "group", tabindex: "0", "aria-label": caption },
    el("table", {},
      el("caption", { class: showCaption ? null : "vh", text: caption }),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col", text: head })))),
      el("tbody", {}, rows)));
}

/** Return a function that runs `draw` once in the next frame, however often it is called before. */
export function onFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    const run = () => {
      if (!asked) return;
      asked = false;
      draw();
    };
    // A hidden tab gets no frames; it should still be right when somebody comes back.
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}
