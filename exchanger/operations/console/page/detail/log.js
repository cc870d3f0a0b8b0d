// The log tab: the line that this decision leaves in the log, field by field.

import { announce, copy } from "../a11y.js";
import { button, el, put, table } from "../dom.js";
import { plain } from "../format.js";

export function showLog(panel, item) {
  const fields = Object.entries(item.log ?? {});
  put(panel,
    el("div", { class: "head-line" }, el("h3", { text: "Log line" }), button("Copy as JSON", (event) => copyLine(event.currentTarget, item.log), { symbol: "copy" })),
    el("p", { class: "muted", text: "LOG_DECISIONS determines whether it is written." }),
    table("Fields of the log line", ["field", "value"], fields.map(([name, value]) => el("tr", {}, el("th", { scope: "row", text: name }), el("td", { class: "mono", text: plain(value) })))));
}

async function copyLine(from, line) {
  const done = await copy(JSON.stringify(line));
  announce(done ? "Copied." : "The browser does not allow copying here.");
  const word = from.querySelector("span");
  const before = word.textContent;
  word.textContent = done ? "Copied" : "Not allowed here";
  setTimeout(() => (word.textContent = before), 2000);
}
