"""The words of the flow tab (``detail/steps.js``) for requests of every kind, as ``flows.txt`` records them.

If a change is meant, run ``python -m tests.browser.flows`` and read the difference.
"""

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.browser.made_up import CONFLICT, KINDS, Json, all_kinds, item
from tests.browser.modules import modules

FILE: Final = Path(__file__).with_name("flows.txt")
FLOWS: Final = "(items) => items.map((item) => m.flow(item, item.siblings ?? 0))"


def failed(diagnostic: str, error: str | None = None, **more: object) -> Json:
    """Return a request whose exchange failed; ``call`` changes what the token endpoint did."""
    call = {"endpoint": "issuer.example.com", "status": None, "duration_ms": 750.0, "error": error, "coalesced": False}
    return item(1, "deny_exchange_error", **{"exchange": call, "diagnostic": diagnostic} | more)


def not_called(diagnostic: str) -> Json:
    return failed(
        diagnostic, exchange={"endpoint": "issuer.example.com", "status": None, "duration_ms": None, "error": None, "coalesced": False}
    )


def answered(diagnostic: str) -> Json:
    call = {"endpoint": "issuer.example.com", "status": 400, "duration_ms": 750.0, "error": "http_status", "coalesced": False}
    return failed(diagnostic, exchange=call)


def chained(first: Json, decision: str = "allow_exchange", diagnostic: str | None = None) -> Json:
    """Return a request that two issuers have to do with."""
    leg = {"issuer": "idp", "endpoint": "idp.example.com", "status": 200, "duration_ms": 9.0, "error": None, "failed": False}
    call = {"endpoint": "chat.example.com", "status": 200, "duration_ms": 11.8, "error": None, "coalesced": False}
    return item(1, decision, exchange={**call, "first_leg": leg | first}, diagnostic=diagnostic)


def subject(refusal: str = "", *, actors: str = "", introspected: bool = False) -> Json:
    return {"refusal": refusal, "actors": actors, "introspected": introspected}


CASES: Final[dict[str, Json]] = {
    **{decision: item(1, decision) for decision in KINDS},
    "asked by ext_proc": item(4),
    "asked over HTTP": item(1, asked_by="http"),
    "a decision that the page does not know": item(1, "deny_explicit_policy") | {"decision": "deny_some_new_thing"},
    "conflict": item(1, "deny_policy_unhealthy", policy=None, conflict=True, detail=CONFLICT),
    "no policy loaded": item(1, "deny_policy_unhealthy", policy=None, detail=""),
    "shared by two others": all_kinds()[-1] | {"siblings": 2},
    "all parts of a target": item(
        1, target={"scope": "a b", "audiences": ["c", "d"], "resources": ["https://r"], "resource_metadata": "https://m"}
    ),
    "no response in time": failed("TXE-1003", "timeout"),
    "no connection": failed("TXE-1003", "transport_error"),
    "an unreadable response": failed("TXE-1003", "read_response"),
    "nobody waited": failed("TXE-1003", "context_canceled", detail="all callers left"),
    **{
        f"not called, {code}": not_called(code)
        for code in ("TXE-1001", "TXE-1002", "TXE-1005", "TXE-1006", "TXE-1007", "TXE-1008", "TXE-1009")
    },
    **{f"refused, {code}": answered(code) for code in ("TXE-2006", "TXE-2007", "TXE-3006", "TXE-3007", "TXE-3008")},
    "two issuers": chained({}),
    "a cached assertion": chained({"status": None, "duration_ms": None}),
    "the first issuer refuses": chained({"status": 400, "failed": True}, "deny_exchange_error", "TXE-2007"),
    "the first issuer fails": chained({"status": None, "duration_ms": None, "failed": True}, "deny_exchange_error", "TXE-1006"),
    "a verified token": item(1, subject=subject()),
    "a verified token with actors": item(1, subject=subject(actors="0123456789abcdef")),
    "an active token": item(1, subject=subject(introspected=True)),
    "an expired token": failed("TXE-4001", detail="the token has expired", subject=subject("the token has expired")),
    "a token that cannot be verified": failed("TXE-4002", detail="the keys did not come in time"),
    "an inactive token": failed("TXE-4003", subject=subject("the token is not active", introspected=True)),
    "an issuer that cannot be asked": failed("TXE-4004", detail="it was too slow"),
}


def text(ask: Callable[..., Any]) -> str:
    """Return what the page says of each case: the lanes, in brackets those that no step reaches, and the steps.

    Of a case that is not the usual one of its decision, it is what differs from the usual one.
    """
    flows = {name: [*_lines(flow)] for name, flow in zip(CASES, ask("detail/steps.js", FLOWS, [*CASES.values()]), strict=True)}
    return "".join(f"{name}\n{''.join(_differing(flows.get(CASES[name]['decision'], []), lines))}" for name, lines in flows.items())


def _lines(flow: Json) -> Iterator[str]:
    lanes = ((f"{lane['title']}: {lane['note']}".removesuffix(": "), lane["reached"]) for lane in flow["lanes"])
    yield f"  {' | '.join(title if reached else f'({title})' for title, reached in lanes)}\n"
    for step in flow["steps"]:
        style = " ".join(filter(None, (step["tone"], "dashed" * step["dashed"], f"{step['took']} ms" * (step["took"] is not None))))
        yield f"  {step['from']} > {step['to']} [{step['label']}]{f' ({style})' if style else ''} {step['text']}\n"


def _differing(usual: list[str], lines: list[str]) -> list[str]:
    return lines if usual == lines else [line for line in difflib.ndiff(usual, lines) if not line.startswith(("  ", "?"))]


def main() -> None:
    """Record everything anew."""
    with modules() as ask:
        FILE.write_text(text(ask))


if __name__ == "__main__":
    main()
