// A text field with line numbers: YAML is coloured, problems are marked at their lines, Enter keeps the indentation, and Tab still leaves the
// field. The colours are those of a copy behind the field, whose own text is transparent.
// Must not know: what the text means, or where it is kept.

import { colour } from "../code.js";
import { el, icon, put } from "../dom.js";

const MARKED = 5000; // lines that have an element each; longer texts have no colours, and problems are marked in their list alone

export class Editor {
  #gutter = el("div", { class: "gutter", "aria-hidden": "true" });
  #area;
  #copy = el("div", { class: "editor-copy", "aria-hidden": "true" });
  #coloured = []; // the lines in the copy
  #lines = 0;
  #problems = new Map(); // line → first reason
  node;

  /** `onInput` is called when the text was changed by hand. */
  constructor({ label, describedBy, onInput }) {
    this.#area = el("textarea", {
      class: "editor-text", "aria-label": label, "aria-describedby": describedBy, spellcheck: "false", autocomplete: "off", autocapitalize: "off", wrap: "off",
      on: {
        input: () => {
          this.#drawCopy();
          this.#drawGutter();
          onInput();
        },
        scroll: () => this.#follow(),
        keydown: (event) => this.#keydown(event),
      },
    });
    this.node = el("div", { class: "editor" }, this.#gutter, el("div", { class: "editor-body" }, this.#copy, this.#area));
  }

  get text() {
    return this.#area.value;
  }

  set text(value) {
    this.#area.value = value;
    this.#area.scrollTop = 0;
    this.#drawCopy();
    this.setProblems([]);
  }

  /** Mark the lines of `problems`. */
  setProblems(problems) {
    this.#problems = new Map();
    for (const { line, reason } of problems) if (line && !this.#problems.has(line)) this.#problems.set(line, reason);
    this.#area.setAttribute("aria-invalid", String(problems.length > 0));
    this.#lines = 0;
    this.#drawGutter();
  }

  /** Put the cursor at `line` and `column` (from 1) and show it. */
  go(line, column = 1) {
    const before = this.text.split("\n").slice(0, line - 1);
    const start = before.reduce((sum, one) => sum + one.length + 1, 0);
    const length = this.text.slice(start).split("\n", 1)[0].length;
    const at = start + Math.min((column ?? 1) - 1, length);
    this.#area.focus();
    this.#area.setSelectionRange(at, column ? at : start + length);
    const height = this.#area.scrollHeight / Math.max(1, this.text.split("\n").length);
    this.#area.scrollTop = (line - 1) * height - this.#area.clientHeight / 2;
  }

  focus() {
    this.#area.focus();
  }

  /** Colour the lines that are new since the last time. */
  #drawCopy() {
    let lines = this.text.split("\n");
    this.node.classList.toggle("coloured", lines.length <= MARKED);
    if (lines.length > MARKED) lines = [];
    const known = this.#coloured;
    let head = 0;
    while (head < lines.length && head < known.length && lines[head] === known[head]) head += 1;
    let tail = 0;
    while (tail < lines.length - head && tail < known.length - head && lines.at(-1 - tail) === known.at(-1 - tail)) tail += 1;
    for (let old = known.length - head - tail; old > 0; old -= 1) this.#copy.children[head].remove();
    const rows = lines.slice(head, lines.length - tail).map((line) => el("div", {}, colour(line), "\n"));
    const after = this.#copy.children[head];
    if (after) after.before(...rows);
    else this.#copy.append(...rows);
    this.#coloured = lines;
  }

  #drawGutter() {
    const lines = this.text.split("\n").length;
    if (lines !== this.#lines) {
      this.#lines = lines;
      const numbers = Array.from({ length: lines }, (_, i) => i + 1);
      put(this.#gutter, lines > MARKED ? el("div", { class: "gutter-lines many", text: numbers.join("\n") }) : el("div", { class: "gutter-lines" }, numbers.map((number) => {
        const reason = this.#problems.get(number);
        return el("span", { class: reason ? "wrong" : null, title: reason }, reason && icon("broken"), String(number));
      })));
    }
    this.#follow();
  }

  #follow() {
    const lines = this.#gutter.firstElementChild;
    if (lines) lines.style.transform = `translateY(${-this.#area.scrollTop}px)`;
    this.#copy.style.transform = `translate(${-this.#area.scrollLeft}px, ${-this.#area.scrollTop}px)`;
  }

  #keydown(event) {
    if (event.key !== "Enter" || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const { selectionStart, value } = this.#area;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    const indent = /^[ ]*/.exec(line)[0];
    if (!indent) return;
    event.preventDefault();
    // The old command keeps the field's undo history, which nothing else does.
    if (!document.execCommand("insertText", false, `\n${indent}`)) {
      this.#area.setRangeText(`\n${indent}`, selectionStart, this.#area.selectionEnd, "end");
      this.#area.dispatchEvent(new Event("input"));
    }
  }
}
