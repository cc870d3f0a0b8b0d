// What differs between two tokens' claims. Pure.

/** Claims that are read first, in this order; the others follow by name. */
const FIRST = ["iss", "sub", "aud", "scope", "azp", "client_id", "act", "exp", "iat", "nbf", "jti"];
/** Claims that are seconds since 1970 (RFC 7519). */
const TIMES = new Set(["exp", "iat", "nbf", "auth_time", "updated_at"]);

export const isTime = (name, value) => TIMES.has(name) && Number.isFinite(value) && value > 0 && value < 1e11;

/** Return `[{name, kind, before, after}]`, kind "added", "removed", "changed" or "kept"; what is missing is undefined. */
export function diffClaims(before, after) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].sort(byUse);
  return names.map((name) => {
    const [old, now] = [own(before, name), own(after, name)];
    return { name, before: old, after: now, kind: kindOf(old, now) };
  });
}

function own(mapping, name) {
  return mapping && Object.hasOwn(mapping, name) ? mapping[name] : undefined;
}

function kindOf(before, after) {
  if (before === undefined) return "added";
  if (after === undefined) return "removed";
  return canonical(before) === canonical(after) ? "kept" : "changed";
}

/** Return a text that is equal for equal values, whatever the order of their keys. */
function canonical(value) {
  return JSON.stringify(value, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part);
}

function byUse(a, b) {
  const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return place(a) - place(b) || (a < b ? -1 : Number(a > b));
}
