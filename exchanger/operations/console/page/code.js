// A text with line numbers, marked lines and notes below lines; YAML in quiet colours.
// Must not know: which lines, or why.

import { el, icon, put } from "./dom.js";

const SHOWN = 4000; // lines: a ConfigMap may have a megabyte, and nobody reads that here
const LISTED = 200; // marks, and problems: more than anybody goes through
/** What YAML counts as the end of a line; problems and entries are told by such lines. */
const BREAK = /\r\n|[\n\r\x85\u2028\u2029]/;

/**
 * Return a box with `text`. `marks` are `{from, to, label, tag, kind}` (lines from 1, both included; `tag` is the word at the first of them,
 * `kind` "good", "warn" or "bad"), `notes` are `{line, column, text}`: problems. `label` names the box. `reveal()` scrolls to the first mark,
 * else to the first note.
 */
export function codeBox(text, { marks = [], notes = [], label }) {
  const lines = text.split(BREAK);
  if (lines.length > 1 && !lines.at(-1)) lines.pop();
  const first = marks[0]?.from ?? notes.find(({ line }) => line)?.line ?? 1;
  // What is looked for stays in the part that is shown.
  const start = lines.length > SHOWN ? Math.max(0, Math.min(first - SHOWN / 2, lines.length - SHOWN)) : 0;
  const body = el("div", { class: "code-lines" });
  const box = el("div", { class: "code", role: "region", "aria-label": label, tabindex: "0" }, body);
  let target = null;
  if (start > 0) body.append(el("p", { class: "cut", text: `${start} lines before are not shown` }));
  const marked = marks.slice(0, LISTED);
  const noted = Map.groupBy(notes.slice(0, LISTED), ({ line }) => line);
  lines.slice(start, start + SHOWN).forEach((content, i) => {
    const number = start + i + 1;
    const here = marked.filter(({ from, to }) => number >= from && number <= to);
    const begins = here.filter(({ from }) => from === number);
    const problems = noted.get(number) ?? [];
    const row = el("div", { class: ["code-line", here.length && "marked", ...here.map(({ kind }) => kind && `m-${kind}`), problems.length && "wrong"].filter(Boolean).join(" "), data: { line: number } },
      el("span", { class: "code-no", data: { no: number }, "aria-hidden": "true" }),
      el("code", {}, begins.map((mark) => el("span", { class: "vh", text: `${mark.label}: ` })), colour(content), "\n"),
      begins.some(({ tag }) => tag) && el("span", { class: "code-tags", "aria-hidden": "true" }, begins.map(({ tag }) => tag && el("span", { class: "code-tag", data: { tag } }))));
    body.append(row);
    for (const problem of problems) {
      const place = problem.column ? `line ${problem.line}, column ${problem.column}` : `line ${problem.line}`;
      body.append(el("p", { class: "code-note" }, icon("broken"), el("span", {}, el("strong", { text: `${place}: ` }), problem.text)));
    }
    if (number === first && (here.length || problems.length)) target = row;
  });
  if (start + SHOWN < lines.length) body.append(el("p", { class: "cut", text: `${lines.length - start - SHOWN} lines after are not shown` }));
  return { box, reveal: () => reveal(box, target) };
}

/** Scroll `row` into the middle of `box`, without moving anything else. */
export function reveal(box, row) {
  if (row) box.scrollTop = row.offsetTop - box.clientHeight / 3;
}

const PARTS = /(?<comment>(?:^|\s)#.*$)|(?<key>(?:"[^"]*"|'[^']*'|[\w./-]+)(?=:(?:\s|$)))|(?<anchor>(?<=^|[\s,[{])[&*!][^\s,[\]{}]+)|(?<string>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?<mark>^---|[-,[\]{}:|>](?=\s|$|[[\]{},])|[[\]{}])/g;

/** Return the spans of one line of YAML: `[kind, text]`, kind null for what has none. */
export function yamlParts(line) {
  const parts = [];
  let done = 0;
  for (const match of line.matchAll(PARTS)) {
    if (match.index > done) parts.push([null, line.slice(done, match.index)]);
    const kind = Object.entries(match.groups).find(([, text]) => text !== undefined)[0];
    parts.push([kind, match[0]]);
    done = match.index + match[0].length;
  }
  if (done < line.length) parts.push([null, line.slice(done)]);
  return parts;
}

/** Return a line of YAML in quiet colours, as text and elements. A very long one stays as it is. */
export function colour(line) {
  if (line.length > 2000) return line;
  return yamlParts(line).map(([kind, text]) => (kind ? el("span", { class: `y-${kind}`, text }) : text));
}

/** Return problems as a list; each is a link to its line when `go` is given. */
export function problemList(problems, go = null) {
  const more = problems.length - LISTED;
  return el("ul", { class: "problems" }, problems.slice(0, LISTED).map((problem) => {
    const place = problemPlace(problem);
    const link = go && problem.line
      ? el("button", { type: "button", class: "link", text: place, on: { click: () => go(problem) } })
      : el("strong", { text: place });
    return put(el("li", {}), icon("broken"), el("span", {}, place && link, place && " ", problem.policy && `${problem.policy}: `, problemText(problem)));
  }), more > 0 && el("li", { class: "muted", text: `${more} more are not listed.` }));
}

/** Return what a problem says, after its code. */
export function problemText({ code, reason }) {
  return code ? `${code}: ${reason}` : reason;
}

/** Return where a problem is. */
export function problemPlace({ line, column, entry }) {
  const parts = [];
  if (line) parts.push(column ? `line ${line}, column ${column}` : `line ${line}`);
  if (entry !== null && entry !== undefined) parts.push(`entries[${entry}]`);
  return parts.join(", ");
}
