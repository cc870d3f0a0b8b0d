"""What the fake console tells: decisions of all kinds, policies in every state of health, scenarios, and policy files.

Must not know: HTTP, or the page.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

Json = dict[str, Any]

VERSION: Final = "1.2.3"
_CALLED: Final[Json] = {"breaker_open": False, "retry_in_s": 0.0, "queued": 0, "in_flight": 1, "max_in_flight": None}
SPARED: Final[Json] = {
    "listed": [
        _CALLED | {"name": "primary", "endpoint": "issuer.example.com", "breaker_open": True, "retry_in_s": 3.5},
        _CALLED | {"name": "second", "endpoint": "second.example.com", "queued": 12, "in_flight": 64, "max_in_flight": 64},
    ],
    "more": 2,
}
PROFILES: Final[Json] = {
    "listed": [
        {"name": "demo", "endpoint": "issuer.example.com", "client": "client secret", "discovery": None, "profile": []},
        {
            "name": "partner",
            "endpoint": "login.example.com",
            "client": "signed assertion (ES256)",
            "discovery": {"issuer": "https://login.example.com", "known": False},
            "profile": [{"name": "grant", "text": "jwt-bearer"}, {"name": "token", "text": "read from x-forwarded-access-token"}],
        },
    ],
    "more": 3,
}
HEALTHY: Final[Json] = {"state": "active", "age_s": 0, "problems": 0, "conflicts": 0, "unreadable": {"listed": [], "more": 0}}
START: Final = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

YELLOW_TEXT: Final = """\
version: v1
entries:
  # Orders are read with a token of their own.
  - match: {host: yellow.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: demo, scope: "read:orders"}

  - match:
      host: yellow.example.com
      pathPrefix: /orders/internal
    action: deny

  - match: {host: yellow.example.com, pathPrefix: /digest, methods: [GET]}
    action: exchange
    exchange: {issuerRef: demo, scope: "read:digest"}
"""
RED_TEXT: Final = """\
version: v1
entries:
  - match: {host: red.example.com, pathPrefix: /inventory}
    action: exchange
    exchange:
      issuerRef: demo-post
      resources: ["https://inventory.red.example.com/"]
  - match: {host: red.example.com, pathPrefix: /slow}
    action: exchagne
    exchange: {issuerRef: demo-slow, scope: slow}
  - match: {host: red.example.com, pathPrefix: /broken, method: GET}
    action: deny
"""
BLUE_TEXT: Final = """\
version: v1
entries:
  - match: {host: blue.example.com, pathPrefix: /reports}
    action: exchange
    exchange: {issuerRef: demo, audiences: [reports-api, archive-api]}
"""

FILE_HEAD: Final = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: token-policy, namespace: team-yellow}
data:
  config.yaml: |
"""
FILE_TEXT: Final = FILE_HEAD + "".join(f"    {line}\n" if line else "\n" for line in YELLOW_TEXT.splitlines())


def entry(
    namespace: str, index: int, lines: tuple[int, int] | None, action: str, host: str | None, prefix: str, **more: object
) -> dict[str, Any]:
    """Return an ENTRY of the interface."""
    return {
        "namespace": namespace,
        "name": "token-policy",
        "entry": index,
        "line": lines[0] if lines else None,
        "end_line": lines[1] if lines else None,
        "action": action,
        "host": host,
        "path_prefix": prefix,
        "case_insensitive": False,
        "methods": None,
        "issuer": "demo" if action == "exchange" else None,
        "scope": "",
        "resources": [],
        "audiences": [],
        "resource_metadata": "",
        "conflicts": [],
        **more,
    }


NOTICES: Final[list[Json]] = [
    {
        "subject": "variable TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED",
        "text": "has no effect: there is no such variable; did you mean TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED?",
        "remedy": "see the configuration reference",
    },
    {
        "subject": "ConfigMap team-gray/token-policy",
        "text": "is not active: its Namespace team-gray is not selected, or does not exist",
        "remedy": "the labels of the Namespace must match ext-authz-token-exchange.magneticflux.net/policy in (enabled)",
    },
]


def documents() -> dict[tuple[str, str], Json]:
    """Return documents by namespace and name, as ``/api/policy/document`` has them but for the revision."""
    yellow = [
        entry("team-yellow", 0, (4, 6), "exchange", "yellow.example.com", "/orders", scope="read:orders"),
        entry("team-yellow", 1, (8, 11), "deny", "yellow.example.com", "/orders/internal"),
        entry("team-yellow", 2, (13, 15), "exchange", "yellow.example.com", "/digest", scope="read:digest", methods=["GET"]),
    ]
    red = [
        entry("team-red", 0, (3, 7), "exchange", "red.example.com", "/inventory", resources=["https://inventory.red.example.com/"]),
        entry("team-red", 1, (8, 10), "invalid", "red.example.com", "/slow"),
        entry("team-red", 2, (11, 12), "invalid", "red.example.com", "/broken"),
    ]
    rival = {"namespace": "team-green", "name": "token-policy", "entry": 0}
    blue = [entry("team-blue", 0, (3, 5), "exchange", "blue.example.com", "/reports", audiences=["reports-api"], conflicts=[rival])]
    green = [
        entry(
            "team-green", 0, None, "exchange", "blue.example.com", "/reports", scope="green", conflicts=[rival | {"namespace": "team-blue"}]
        )
    ]
    unreadable = {"entry": None, "line": None, "column": None, "reason": "config.yaml is missing, so every request is refused"}
    return {
        ("team-blue", "token-policy"): _document("team-blue", BLUE_TEXT, blue, []),
        ("team-green", "token-policy"): _document("team-green", None, green, [unreadable]),
        ("team-red", "token-policy"): _document(
            "team-red",
            RED_TEXT,
            red,
            [
                {"entry": 1, "line": 9, "column": 13, "reason": "action must be exchange or deny, not exchagne"},
                {"entry": 2, "line": 11, "column": 60, "reason": "unknown field: method"},
            ],
        ),
        ("team-yellow", "token-policy"): _document("team-yellow", YELLOW_TEXT, yellow, []),
    }


def _document(namespace: str, text: str | None, entries: list[Json], problems: list[Json]) -> Json:
    return {"namespace": namespace, "name": "token-policy", "text": text, "entries": entries, "problems": problems}


def overview(found: dict[tuple[str, str], Json], revision: int) -> Json:
    """Return ``/api/policy``."""
    namespaces: dict[str, list[Json]] = {}
    for (namespace, name), document in sorted(found.items()):
        conflicts = any(entry["conflicts"] for entry in document["entries"])
        health = "problems" if document["problems"] else "conflicts" if conflicts else "ok"
        namespaces.setdefault(namespace, []).append(
            {"name": name, "entries": len(document["entries"]), "health": health, "problems": document["problems"]}
        )
    return {
        "revision": revision,
        "ready": True,
        "entries": sum(len(document["entries"]) for document in found.values()),
        "invalid_documents": sum(1 for document in found.values() if document["problems"]),
        "namespaces": [{"name": name, "documents": listed} for name, listed in namespaces.items()],
        "more": 0,
        "notices": {"listed": NOTICES, "more": 3},
    }


SUBJECT: Final[Json] = {
    "header": {"alg": "RS256", "kid": "idp-1", "typ": "JWT"},
    "claims": {
        "iss": "https://idp.example.com",
        "sub": "alice",
        "aud": "portal",
        "scope": "openid profile",
        "exp": 1_769_864_400,
        "email": "alice@example.com",
    },
    "signature": "present",
}
EXCHANGED: Final[Json] = {
    "header": {"alg": "RS256", "kid": "issuer-7", "typ": "at+jwt"},
    "claims": {
        "iss": "https://issuer.example.com",
        "sub": "alice",
        "aud": "orders-api",
        "scope": "read:orders",
        "exp": 1_769_861_100,
        "act": {"sub": "exchanger"},
    },
    "signature": "present",
}

Kind = tuple[str, str, int, str, str, Json]
# Every decision, as (result, method, status, host, path, {entry}).
KINDS: Final[dict[str, Kind]] = {
    "allow_exchange": ("allowed", "GET", 200, "yellow.example.com", "/orders/1", {"entry": ("team-yellow", 0)}),
    "allow_unmatched": ("allowed", "GET", 200, "yellow.example.com", "/public", {}),
    "allow_options_bypass": ("allowed", "OPTIONS", 200, "yellow.example.com", "/orders/1", {"entry": ("team-yellow", 0)}),
    "deny_missing_bearer": ("auth_denied", "POST", 401, "yellow.example.com", "/orders/1", {"entry": ("team-yellow", 0)}),
    "deny_invalid_bearer": ("auth_denied", "GET", 401, "yellow.example.com", "/digest", {"entry": ("team-yellow", 2)}),
    "deny_explicit_policy": ("auth_denied", "GET", 403, "yellow.example.com", "/orders/internal/9", {"entry": ("team-yellow", 1)}),
    "deny_unmatched_default": ("auth_denied", "GET", 403, "nowhere.example.com", "/", {}),
    "deny_ambiguous_request": ("auth_denied", "GET", 400, "yellow.example.com", "/orders/%2e%2e/public", {}),
    "deny_exchange_error": ("system_error", "GET", 500, "red.example.com", "/inventory", {"entry": ("team-red", 0)}),
    "deny_policy_unhealthy": ("system_error", "GET", 500, "red.example.com", "/slow", {"entry": ("team-red", 1)}),
    "missing_http_attributes": ("system_error", "", 500, "", "", {}),
}

CONFLICT: Final = "more than one entry has this host, method and longest matching pathPrefix"
_DETAILS: Final = {
    "deny_policy_unhealthy": "team-red/token-policy entries[1]: action must be exchange or deny, not exchagne",
    "deny_ambiguous_request": "its interpretations lead to different decisions",
}


def item(seq: int, decision: str = "allow_exchange", **changes: object) -> Json:
    """Return an ITEM of the interface."""
    result, method, status, host, path, more = KINDS[decision]
    where = more.get("entry")
    policy = {"namespace": where[0], "name": "token-policy", "entry": where[1]} if where else None
    exchanges = decision in {"allow_exchange", "deny_exchange_error"}
    time = (START + timedelta(milliseconds=431 * seq)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    duration = 12.41 if exchanges else 0.021
    detail = _DETAILS.get(decision, "")
    diagnostic = "TXE-2005" if decision == "deny_exchange_error" else None
    denied = result != "allowed"
    made: Json = {
        "seq": seq,
        "time": time,
        "method": method,
        "host": host,
        "path": path,
        "path_is_raw": False,
        "path_cut": False,
        "readings": ["/orders/%2e%2e/public", "/orders/../public", "/public"] if decision == "deny_ambiguous_request" else [path],
        "asked_by": "ext_proc" if seq % 5 == 4 else "ext_authz",
        "decision": decision,
        "result": result,
        "status": status,
        "policy": policy,
        "conflict": False,
        "detail": detail,
        "diagnostic": diagnostic,
        "issuer": "demo" if exchanges else None,
        "target": {"scope": "read:orders", "resources": [], "audiences": []} if exchanges else None,
        "exchange": {
            "endpoint": "issuer.example.com",
            "status": 503 if diagnostic else 200,
            "duration_ms": 11.8,
            "error": "http_status" if diagnostic else None,
            "coalesced": False,
        }
        if exchanges
        else None,
        "subject": None,
        "duration_ms": duration,
        "trace_id": f"{seq:032x}",
        "revision": 7,
        "response": None,
        "log": {
            "timestamp": time,
            "level": "error" if result == "system_error" else "warning" if denied else "info",
            "event": "check.decided",
            "method": method,
            "host": host,
            "path": path,
            "decision": decision,
            "duration_ms": duration,
            "status": status,
        },
        "tokens": None,
    }
    if denied:
        body = '{"error":"bearer_token_required"}' if status == 401 else '{"error":"policy_denied"}'
        made["response"] = {"status": status, "headers": [["Content-Type", "application/json"]], "body": body}
        if status == 401:
            made["response"]["headers"].append(["WWW-Authenticate", 'Bearer realm="exchanger-demo", scope="read:orders"'])
        if diagnostic:
            made["response"] |= {"headers": None, "body": None}
    if decision not in {"deny_missing_bearer", "allow_options_bypass", "missing_http_attributes"}:
        made["tokens"] = {"subject": SUBJECT, "exchanged": EXCHANGED if decision == "allow_exchange" else None}
    return made | changes


def all_kinds(first: int = 1) -> list[Json]:
    """Return one item of each decision, and two that shared an exchange."""
    items = [item(first + i, decision) for i, decision in enumerate(KINDS)]
    call = {"endpoint": "issuer.example.com", "status": 200, "duration_ms": 42.0, "error": None, "coalesced": False}
    digest: Json = {
        "path": "/digest",
        "policy": {"namespace": "team-yellow", "name": "token-policy", "entry": 2},
        "exchange": call,
        "duration_ms": 43.0,
    }
    last = first + len(items)
    same = items[-1]["time"]
    items.append(item(last, time=same) | digest)
    items += [item(last + i, time=same) | digest | {"exchange": call | {"coalesced": True}} for i in (1, 2)]
    return items


def candidates(method: str, host: str, path: str) -> Json:
    """Return ``/api/explain`` but for the revision: what covers the path, of which the longest prefix wins."""
    every = [dict(entry) for document in documents().values() for entry in document["entries"]]
    known = [entry for entry in every if entry["host"] in {host, None} and path.startswith(entry["path_prefix"])]
    fitting = [entry for entry in known if entry["methods"] is None or method in entry["methods"]]
    best = max(fitting, key=lambda entry: len(entry["path_prefix"]), default=None)
    tied = [entry for entry in fitting if best is not None and entry["path_prefix"] == best["path_prefix"]]
    for one in known:
        if one in tied:
            one["outcome"] = "conflict" if len(tied) > 1 else "blocked by" if one["action"] == "invalid" else "won"
            one["why"] = "the longest pathPrefix that matches host and method"
        else:
            one["outcome"] = "no"
            others = f"its methods ({', '.join(one['methods'] or ())}) do not include {method}"
            one["why"] = "an entry with a longer pathPrefix matches" if one in fitting else others
    known.sort(key=lambda entry: entry["outcome"] == "no")
    if len(tied) > 1:
        verdict = {"kind": "unhealthy", "policy": None, "reason": CONFLICT}
        return {"verdict": verdict, "decision": decision(None, 500, CONFLICT), "readings": [path], "candidates": known, "more": 0}
    kind = "no_match" if best is None else {"invalid": "unhealthy"}.get(best["action"], best["action"])
    policy = None if best is None else {key: best[key] for key in ("namespace", "name", "entry")}
    told = decision(
        best, 500 if kind == "unhealthy" else 403 if kind == "deny" else None, "an entry says so" if best else "no entry applies"
    )
    return {
        "verdict": {"kind": kind, "policy": policy, "reason": ""},
        "decision": told,
        "readings": [path],
        "candidates": known,
        "more": 0,
    }


def decision(entry: Json | None, status: int | None, reason: str) -> Json:
    """Return what becomes of a request that ``entry`` decides."""
    action = "invalid" if entry is None and status else "unmatched" if entry is None else entry["action"]
    return {
        "kind": "refused" if action == "invalid" else action,
        "passes": status is None,
        "status": status,
        "policy": None if entry is None else {key: entry[key] for key in ("namespace", "name", "entry")},
        "reason": reason,
        "exchange": None
        if entry is None or action != "exchange"
        else {
            **{key: entry[key] for key in ("issuer", "scope", "resources", "audiences", "resource_metadata")},
            "endpoint": "login.example.com",
            "profile": [{"name": "checked", "text": "before anything is asked: issued by https://login.example.com, for gateway"}],
        },
    }


def scenario(name: str, watch: str, method: str, path: str, expected: str, **more: object) -> Json:
    """Return a scenario of the lab."""
    request = {"method": method, "host": "yellow.example.com", "path": path, "headers": [], "subject": "valid"}
    curl = f'curl -s -H \'Host: yellow.example.com\' -H "Authorization: Bearer $TOKEN" "$GATEWAY"{path}'
    return {"name": name, "watch": watch, "kind": "request", "request": request, "count": 1, "expected": expected, "curl": curl, **more}


SCENARIOS: Final = [
    scenario(
        "yellow-success", "the upstream sees a token for the scope, not the caller's", "GET", "/orders/1", "200, exchanged for read:orders"
    ),
    scenario("unmatched", "no policy, no change: the upstream sees the original token", "GET", "/public", "200, the original token"),
    scenario("explicit-deny", "the longer prefix wins: refused below /orders", "GET", "/orders/internal/1", "403 policy_denied"),
    scenario("timeout", "the issuer is slow; the answer is the service's own", "GET", "/slow", "500 TXE-1003"),
    scenario(
        "coalescing",
        "ten equal requests at once make one token request",
        "GET",
        "/digest",
        "200, exchanged; one call",
        kind="equal",
        count=10,
    ),
]


_PLACE: Final = {"namespace": "team-yellow", "name": "token-policy", "entry": 1}
_TOKEN: Final = {"issuer": "demo", "scope": "read:orders", "resources": [], "audiences": []}
COMPARED: Final[Json] = {
    "examples": 25,
    "changes": [
        {
            "method": "GET",
            "host": "yellow.example.com",
            "path": "/orders/internal/1",
            "before": {"outcome": "deny", "policy": _PLACE, "target": None, "reason": ""},
            "after": {"outcome": "blocked by", "policy": _PLACE, "target": None, "reason": "action must be exchange or deny, not wrong"},
        },
        {
            "method": "POST",
            "host": "yellow.example.com",
            "path": "/orders/1",
            "before": {"outcome": "no policy", "policy": None, "target": None, "reason": ""},
            "after": {"outcome": "exchange", "policy": _PLACE | {"entry": 0}, "target": _TOKEN, "reason": ""},
        },
    ],
    "more": 0,
    "why_not": "",
}


def result(name: str | None, trace_ids: list[str], *, ok: bool | None) -> Json:
    """Return a RESULT of the lab."""
    return {
        "name": name,
        "ok": ok,
        "expected": next((one["expected"] for one in SCENARIOS if one["name"] == name), ""),
        "got": "200, exchanged for read:orders" if ok is not False else "200, the original token",
        "elapsed_ms": 18.3,
        "details": ["the token endpoint was asked once"] if name == "coalescing" else [],
        "trace_ids": trace_ids,
        "answer": {
            "status": 200,
            "headers": [["content-type", "application/json"]],
            "body": '{"path":"/orders/1","authorization":"Bearer …"}',
        },
        "tokens": {
            "sent": SUBJECT,
            "received": EXCHANGED,
            "verification": {
                "verified": True,
                "text": "Signed by the realm's key, for the audience that was asked for.",
                "kid": "issuer-7",
            },
        },
    }


def lint(text: str) -> list[Json]:
    """Return problems of a policy file: whatever has the word ``wrong`` in it."""
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        column = line.find("wrong")
        if column >= 0:
            reason = "action must be exchange or deny, not wrong"
            problems.append({"entry": 0, "line": number, "column": column + 1, "reason": reason, "policy": "team-yellow/token-policy"})
    return problems
