"""An issuer that lies about callers' tokens, and callers who flood it with made-up ones, at a real process with ``introspection``.

No word but a plain yes for us and now lets a token pass, and none counts for longer than the profile says; a flood costs the issuer at most
its limits, and those whom it knows are served meanwhile.
"""

import collections
import contextlib
import json
import multiprocessing
import threading
import time
import urllib.parse
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import grpc
import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.attack.process import resident_mib, spawned
from tests.attack.test_hostile_issuer import SECRET
from tests.authz.envoy.test_check_codec import check
from tests.e2e.collector import Got, Recorder, recording
from tests.e2e.own_issuer import OwnIssuer, own_issuer
from tests.e2e.service import Service, serving

AUDIENCE: Final = "gateway"
MOST: Final = 8
KEEP_S: Final = 1.0
KIND: Final = "urn:ietf:params:oauth:token-type:access_token"
POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /opaque}, action: exchange, exchange: {issuerRef: opaque, scope: read}}
  - {match: {host: api.example.com, pathPrefix: /brief}, action: exchange, exchange: {issuerRef: brief, scope: read}}
"""
# Longer than any machine stalls, so that no call is given up while the issuer still works on it.
PATIENT: Final = {"TOKEN_ENDPOINT_REQUEST_TIMEOUT": "20s", "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT": "15s"}
YES: Final = {"active": True}
REFUSED: Final = "TXE-4003"
UNAVAILABLE: Final = "TXE-4004"


def text(members: str) -> bytes:
    return f"{{{members}}}".encode()


def saying(**members: object) -> bytes:
    return json.dumps({**YES, "aud": AUDIENCE, **members}).encode()


# What the issuer says, and the code of the refusal.
LIES: Final[dict[str, tuple[bytes, str]]] = {
    "active: text": (saying(active="true"), REFUSED),
    "active: a number": (saying(active=1), REFUSED),
    "active: a list": (saying(active=[True]), REFUSED),
    "active: an object": (saying(active={"active": True}), REFUSED),
    "active: null": (saying(active=None), REFUSED),
    "active: in other letters": (text(f'"Active":true,"aud":"{AUDIENCE}"'), REFUSED),
    "active: missing": (text(f'"aud":"{AUDIENCE}"'), REFUSED),
    "active: twice, the last one true": (text(f'"active":false,"active":true,"aud":"{AUDIENCE}"'), UNAVAILABLE),
    "active: twice, the first one true": (text(f'"active":true,"active":false,"aud":"{AUDIENCE}"'), UNAVAILABLE),
    "active: twice, once escaped": (text(f'"active":true,"\\u0061ctive":true,"aud":"{AUDIENCE}"'), UNAVAILABLE),
    "exp: past": (saying(exp=1), REFUSED),
    "exp: now": (saying(exp=int(time.time())), REFUSED),
    "exp: text": (saying(exp="9999999999"), REFUSED),
    "exp: true": (saying(exp=True), REFUSED),
    "exp: a list": (saying(exp=[9999999999]), REFUSED),
    "exp: infinite": (saying(exp=float("inf")), UNAVAILABLE),
    "exp: beyond numbers": (text(f'"active":true,"aud":"{AUDIENCE}","exp":1{"0" * 400}'), REFUSED),
    "exp: negative": (saying(exp=-1), REFUSED),
    "exp: twice": (text(f'"active":true,"aud":"{AUDIENCE}","exp":1,"exp":9999999999'), UNAVAILABLE),
    "aud: another": (saying(aud="another"), REFUSED),
    "aud: nested": (saying(aud=[[AUDIENCE]]), REFUSED),
    "aud: a part": (saying(aud=f"{AUDIENCE}-of-another"), REFUSED),
    "aud: missing": (json.dumps(YES).encode(), REFUSED),
    "iss: another": (saying(iss="https://attacker.example.com"), REFUSED),
    "token_type: another": (saying(token_type="DPoP"), REFUSED),
    "token_type: N_A": (saying(token_type="N_A"), REFUSED),
    "cnf": (saying(cnf={"jkt": "x"}), REFUSED),
    "act: too deep": (saying(act={"sub": "a", "act": {"sub": "b", "act": {"sub": "c"}}}), REFUSED),
    "act: text": (saying(act="a"), REFUSED),
    "a list": (f"[{json.dumps(YES)}]".encode(), UNAVAILABLE),
    "true": (b"true", UNAVAILABLE),
    "null": (b"null", UNAVAILABLE),
    "empty": (b"", UNAVAILABLE),
    "cut off": (saying()[:-1], UNAVAILABLE),
    "two answers": (saying() * 2, UNAVAILABLE),
    "bytes": (b"\xff" + saying(), UNAVAILABLE),
    "a byte order mark": ("\ufeff".encode() + saying(), UNAVAILABLE),
    "deep": (text('"active":true,"a":' + "[" * 5000 + "]" * 5000), UNAVAILABLE),
    "huge": (saying(name=SECRET * 30_000), UNAVAILABLE),
    "a JWT": (b"eyJhbGciOiJub25lIn0.eyJhY3RpdmUiOnRydWV9.", UNAVAILABLE),
}
HONEST: Final = {
    "yes": saying(),
    "for us and others": saying(aud=[AUDIENCE, "another"]),
    "until later": saying(exp=9999999999, token_type="bearer"),
    "with more": saying(username=SECRET, scope="anything", act={"sub": "gateway"}),
}


@attrs.define(eq=False)
class Asked:
    """A service, and an issuer that says ``word`` of each token but those that it ``knows``. ``most`` is how many it was asked at once."""

    service: Service
    server: Recorder
    keys: OwnIssuer
    word: bytes = HONEST["yes"]
    takes: float = 0.0
    knows: frozenset[str] = frozenset()
    most: collections.Counter[str] = attrs.field(factory=collections.Counter)
    _now: collections.Counter[str] = attrs.field(factory=collections.Counter)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def questions(self) -> list[str]:
        """Return the tokens that the issuer was asked about, in order."""
        return [urllib.parse.parse_qs(got.body.decode())["token"][0] for got in self.server.requests if got.path == "/introspect"]

    def answer(self, got: Got) -> tuple[int, str, bytes]:
        with self._lock:
            self._now[got.path] += 1
            self._now["all"] += 1
            for what in (got.path, "all"):
                self.most[what] = max(self.most[what], self._now[what])
        try:
            return self._answer(got)
        finally:
            with self._lock:
                self._now[got.path] -= 1
                self._now["all"] -= 1

    def _answer(self, got: Got) -> tuple[int, str, bytes]:
        form = urllib.parse.parse_qs(got.body.decode())
        if got.path == "/token":
            issued = {"access_token": f"for-{form['subject_token'][0]}", "token_type": "Bearer"}
            return 200, "application/json", json.dumps({**issued, "issued_token_type": KIND}).encode()
        assert set(form) == {"token", "token_type_hint"}
        time.sleep(self.takes)
        return 200, "application/json", HONEST["yes"] if form["token"][0] in self.knows else self.word

    def ask(self, token: str, path: str = "/opaque") -> str:
        """Return the code of a refusal, "" for the token that was issued for ``token``."""
        answer = self.service.check(path, authorization=f"Bearer {token}")
        return code_of(answer, token)


def code_of(answer: CheckResponse, token: str) -> str:
    body: str = answer.denied_response.body
    assert SECRET not in body
    if body:
        return body.partition("(")[2].partition(")")[0]
    (found,) = (header.header.value for header in answer.ok_response.headers if header.header.key == "authorization")
    assert found == f"Bearer for-{token}"
    return ""


@contextlib.contextmanager
def asking(folder: Path) -> Generator[Asked]:
    made: list[Asked] = []

    def answer(got: Got) -> tuple[int, str, bytes]:
        return made[0].answer(got)

    with own_issuer() as keys, recording(answer) as server:

        def profile(name: str, keep: str) -> dict[str, object]:
            introspection = {"endpoint": f"{server.url}/introspect", "cacheTTL": keep}
            return {
                "name": name,
                "tokenEndpoint": f"{server.url}/token",
                "clientID": "client",
                "clientSecret": "secret",
                "limits": {"maxInFlight": MOST},
                "subjectToken": {
                    "issuers": [keys.url],
                    "jwksURI": keys.keys_url,
                    "audiences": [AUDIENCE],
                    "maxActors": 2,
                    "introspection": introspection,
                },
            }

        (folder / "issuers.yaml").write_text(json.dumps({"issuers": [profile("opaque", "5m"), profile("brief", f"{KEEP_S:g}s")]}))
        with serving(folder, POLICY, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", LOG_DECISIONS="all", **PATIENT) as service:
            made.append(Asked(service, server, keys))
            yield made[0]
            assert service.stop() == 0
            for never in (SECRET, "grpc.handler_failed", "zq-opaque"):
                assert never not in service.lines()


def test_only_a_plain_yes_for_us_and_now_lets_a_token_pass(tmp_path: Path) -> None:
    with asking(tmp_path) as it:
        found = {}
        for number, (name, (it.word, _)) in enumerate(LIES.items()):
            found[name] = it.ask(f"zq-opaque-{number}")
        assert found == {name: code for name, (_, code) in LIES.items()}
        assert [got for got in it.server.requests if got.path == "/token"] == []
        for number, (name, it.word) in enumerate(HONEST.items()):
            assert it.ask(f"zq-opaque-honest-{number}") == "", name

        # Whatever the issuer says about the end, its word counts for as long as the profile says.
        it.word = HONEST["until later"]
        assert it.ask("zq-opaque-brief", "/brief") == ""
        it.word = saying(active=False)
        while it.ask("zq-opaque-brief", "/brief") == "":
            time.sleep(KEEP_S / 10)
        assert it.questions().count("zq-opaque-brief") == len(["yes", "no"])


@pytest.mark.full
def test_slow_introspection_takes_half_of_the_permits_and_delays_no_jwt(tmp_path: Path) -> None:
    """Questions take half of the permits while they last; JWTs, which need none, are exchanged with the others."""
    with asking(tmp_path) as it, ThreadPoolExecutor(3 * MOST) as callers:
        it.takes = 0.2
        waiting = [callers.submit(it.ask, f"zq-opaque-{number}") for number in range(3 * MOST)]
        assert [it.ask(it.keys.token(f"user-{number}", AUDIENCE)) for number in range(2 * MOST)] == [""] * 2 * MOST
        assert {asked.result() for asked in waiting} <= {"", UNAVAILABLE}  # no more than the queue holds may wait
        assert it.most["/introspect"] == MOST // 2


TOKENS: Final = 20_000
FLOOD_S: Final = 20.0
AT_ONCE: Final = 200
# Requests of those whom the issuer knows before one comes that it does not, and tries of that one.
LATE: Final = 50
MADE_UP: Final = "zq-opaque-made-up-"
# MiB: decisions of a flood are 400 bytes each, and what is on its way is bounded.
GROWTH: Final = 100


def flood(port: int, told: Any) -> None:
    """Ask about ever new tokens until there were ``TOKENS``, or for ``FLOOD_S``; tell how many answers were of which kind."""
    codes: collections.Counter[str] = collections.Counter()
    room, end = threading.Semaphore(AT_ONCE), time.monotonic() + FLOOD_S

    def landed(call: "grpc.Future[bytes]") -> None:
        try:
            body: str = CheckResponse.FromString(call.result()).denied_response.body
            codes[body.partition("(")[2].partition(")")[0]] += 1
        finally:
            room.release()

    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
        number = 0
        while number < TOKENS and time.monotonic() < end:
            room.acquire()
            fields = {":authority": "api.example.com", ":path": "/brief", "authorization": f"Bearer {MADE_UP}{number}"}
            call.future(check(fields, method="GET", path="/brief", host="api.example.com"), timeout=60).add_done_callback(landed)
            number += 1
        for _ in range(AT_ONCE):
            room.acquire()
    told.send((number, dict(codes)))


@pytest.mark.full
def test_a_flood_of_unknown_tokens_leaves_known_callers_and_limits_unharmed(tmp_path: Path) -> None:
    with asking(tmp_path) as it:
        known = [f"zq-opaque-known-{number}" for number in range(4)]
        late = [f"zq-opaque-late-{number}" for number in range(4)]
        it.word, it.knows = saying(active=False), frozenset((*known, *late))
        assert [it.ask(token, "/brief") for token in known] == [""] * len(known)
        before = resident_mib(it.service.process.pid)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        served: list[str] = []
        with contextlib.closing(ours), spawned(flood, it.service.port, theirs):
            theirs.close()
            while not ours.poll(0.01):
                served += [it.ask(token, "/brief") for token in (*known, it.keys.token("jwt", AUDIENCE))]
                if late and len(served) > LATE:  # in the middle of it: whom the issuer has not been asked about may have to try again
                    token = late.pop()
                    assert any(it.ask(token, "/brief") == "" for _ in range(LATE)), "no room is left for anyone else"
            sent, codes = ours.recv()
        assert set(served) == {""}
        assert set(codes) <= {REFUSED, UNAVAILABLE}
        assert sum(codes.values()) == sent
        assert it.most["/introspect"] <= MOST // 2
        assert it.most["all"] <= MOST
        asked = collections.Counter(it.questions())
        assert {count for token, count in asked.items() if token.startswith(MADE_UP)} == {1}
        assert min(asked[token] for token in known) > 1  # their decisions ended meanwhile
        assert resident_mib(it.service.process.pid) - before < GROWTH
