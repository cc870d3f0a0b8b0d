// What differs between two texts, line by line. Pure.

const WORK = 4_000_000; // comparisons of lines, some hundredths of a second; beyond, what differs is shown as replaced
const CONTEXT = 2; // lines around a difference

/** Return `[{kind, text}]`, kind "kept", "added", "removed", or "gap" where lines that are the same are left out; nothing for equal texts. */
export function diffLines(before, after) {
  const [old, now] = [before.split("\n"), after.split("\n")];
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const line = (kind) => (text) => ({ kind, text });
  const middle = compared(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  if (!middle.length) return [];
  return folded([...old.slice(0, head).map(line("kept")), ...middle, ...old.slice(old.length - tail).map(line("kept"))]);
}

/** Return the lines of both, those of the longest common subsequence as kept. */
function compared(old, now) {
  const removed = (text) => ({ kind: "removed", text });
  const added = (text) => ({ kind: "added", text });
  if (old.length * now.length > WORK) return [...old.map(removed), ...now.map(added)];
  const width = now.length + 1;
  const longest = new Uint32Array((old.length + 1) * width); // of old from i and now from j, at i * width + j
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = old[i] === now[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push({ kind: "kept", text: old[i] });
      i += 1;
      j += 1;
    } else if (i < old.length && (j === now.length || longest[(i + 1) * width + j] >= longest[i * width + j + 1])) lines.push(removed(old[i++]));
    else lines.push(added(now[j++]));
  }
  return lines;
}

/** Return `lines` with gaps for those that are far from any difference. */
function folded(lines) {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ kind }, at) => kind === "kept" || near.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1));
  return lines.flatMap((line, at) => (near[at] ? [line] : at === 0 || near[at - 1] ? [{ kind: "gap", text: "" }] : []));
}
