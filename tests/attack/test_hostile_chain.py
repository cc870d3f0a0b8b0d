"""Two chained issuers of which one lies, to a real process: what the first one asserts, and what the second one makes of it.

Only an assertion about the caller, for this client at the second issuer, is sent there, and only a token of the second one is handed out.
"""

import contextlib
import itertools
import json
import time
import urllib.parse
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.attack.test_hostile_issuer import SECRET, Forge, encoded, new_key, payload, signed
from tests.authz.audit.outputs import jwt as unsigned
from tests.e2e.collector import Got, Recorder, recording
from tests.e2e.own_issuer import KEY_ID, OwnIssuer, own_issuer
from tests.e2e.service import Service, serving

CLIENT: Final = "client-at-chat"
CHAT: Final = "https://chat.example.com"
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
TYP: Final = "oauth-id-jag+jwt"
SCOPE: Final = "read:chat"
POLICY: Final = f"""
version: v1
entries:
  - {{match: {{host: api.example.com, pathPrefix: /chat}}, action: exchange, exchange: {{issuerRef: chat, scope: "{SCOPE}"}}}}
  - {{match: {{host: api.example.com, pathPrefix: /again}}, action: exchange, exchange: {{issuerRef: again, scope: "{SCOPE}"}}}}
"""
Form = dict[str, list[str]]
# What an issuer answers: a status, and members.
Answer = tuple[int, dict[str, Any]]


def jag(more: str = "", key: ec.EllipticCurvePrivateKey | None = None, without: str = "", **header: object) -> Forge:
    """Sign the claims as an ID-JAG, with ``more`` members as text, and ``without`` one of them."""

    def forge(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
        left = {name: value for name, value in claims.items() if name != without}
        return signed(issuer, payload(left, more), key, **{"typ": TYP, **header})

    return forge


def claiming(**changed: object) -> Forge:
    return lambda issuer, claims: jag()(issuer, claims | changed)


def spoilt(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    return f"{jag()(issuer, claims).rpartition('.')[0]}.{claiming(jti='other')(issuer, claims).rpartition('.')[2]}"


def at_times(**seconds: float) -> Forge:
    """Set claims to times that far from now."""
    return lambda issuer, claims: jag()(issuer, claims | {name: time.time() + value for name, value in seconds.items()})


def by_nobody(_issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    return encoded(json.dumps({"alg": "none", "kid": KEY_ID, "typ": TYP}).encode(), payload(claims), b"signature")


# What is wrong with an assertion, and the code of the answer.
LIES: Final[dict[str, tuple[Forge, str]]] = {
    "aud: another": (claiming(aud="https://attacker.example.com"), "TXE-3006"),
    "aud: one more": (claiming(aud=[CHAT, "https://attacker.example.com"]), "TXE-3006"),
    "aud: the client": (claiming(aud=CLIENT), "TXE-3006"),
    "aud: with a slash": (claiming(aud=f"{CHAT}/"), "TXE-3006"),
    "aud: in other letters": (claiming(aud=CHAT.upper()), "TXE-3006"),
    "aud: nested": (claiming(aud=[[CHAT]]), "TXE-3008"),
    "aud: empty": (claiming(aud=[]), "TXE-3006"),
    "aud: missing": (jag(without="aud"), "TXE-3006"),
    "aud: twice": (jag(f'"aud":"{CHAT}"'), "TXE-3008"),
    "client_id: another": (claiming(client_id="client-of-another"), "TXE-3006"),
    "client_id: that of the first issuer": (claiming(client_id="client"), "TXE-3006"),
    "client_id: with a blank": (claiming(client_id=f"{CLIENT} "), "TXE-3006"),
    "client_id: a list": (claiming(client_id=[CLIENT]), "TXE-3008"),
    "client_id: missing": (jag(without="client_id"), "TXE-3006"),
    "client_id: twice": (jag(f'"client_id":"{CLIENT}"'), "TXE-3008"),
    "sub: another": (claiming(sub="somebody"), "TXE-3006"),
    "sub: a list": (claiming(sub=["alice"]), "TXE-3008"),
    "sub: missing": (jag(without="sub"), "TXE-3006"),
    "iss: another": (claiming(iss=CHAT), "TXE-3006"),
    "iss: missing": (jag(without="iss"), "TXE-3006"),
    "exp: long ago": (claiming(exp=1), "TXE-3008"),
    "exp: missing": (jag(without="exp"), "TXE-3008"),
    "exp: text": (claiming(exp="2000000000"), "TXE-3008"),
    "exp: infinite": (claiming(exp=float("inf")), "TXE-3008"),
    "exp: beyond numbers": (claiming(exp=10**400), "TXE-3008"),
    "exp: true": (claiming(exp=True), "TXE-3008"),
    "exp: a second ago": (at_times(exp=-1), "TXE-3008"),
    "nbf: in a minute": (at_times(nbf=60), "TXE-3008"),
    "cnf: a key": (claiming(cnf={"jkt": "a"}), "TXE-3006"),
    "act: somebody": (claiming(act={"sub": "mallory"}), "TXE-3006"),
    "scope: more": (claiming(scope=f"{SCOPE} admin"), "TXE-3007"),
    "typ: missing": (lambda issuer, claims: signed(issuer, payload(claims)), "TXE-3006"),
    "typ: of an access token": (jag(typ="at+jwt"), "TXE-3006"),
    "typ: of an ID token": (jag(typ="JWT"), "TXE-3006"),
    "typ: with a parameter": (jag(typ=f"{TYP};v=1"), "TXE-3006"),
    "typ: a number": (jag(typ=5), "TXE-3008"),
    "typ: a list": (jag(typ=[TYP]), "TXE-3008"),
    "crit": (jag(crit=["exp"]), "TXE-3008"),
    "b64": (jag(b64=False), "TXE-3008"),
    "alg none": (by_nobody, "TXE-3008"),
    "another key": (jag(key=new_key()), "TXE-3008"),
    "another assertion's signature": (spoilt, "TXE-3008"),
    "opaque": (lambda _issuer, _claims: SECRET, "TXE-3008"),
    "two dots": (lambda _issuer, _claims: f"{SECRET}.not.jwt", "TXE-3008"),
    "a huge claim": (claiming(name=SECRET * 5000), "TXE-3005"),
    "deep claims": (jag('"a":' + "[" * 500 + "]" * 500), "TXE-3008"),
}
HONEST: Final[dict[str, Forge]] = {
    "as requested": jag(),
    "aud: a list": claiming(aud=[CHAT]),
    "typ: in other letters": jag(typ=TYP.upper()),
    "typ: in full": jag(typ=f"application/{TYP}"),
}


def granted(token: str, kind: str = ACCESS_TOKEN, token_type: str = "Bearer") -> Answer:
    return 200, {"access_token": token, "token_type": token_type, "issued_token_type": kind, "expires_in": 250}


@attrs.define(eq=False)
class Row:
    """A service, and two issuers behind one address. ``first`` makes the members of an answer with an assertion, ``second`` answers a form.

    Each request is by a user's token of its own, unless it has a ``name``.
    """

    service: Service
    issuer: OwnIssuer
    server: Recorder
    forge: Forge = HONEST["as requested"]
    first: Callable[[str], Answer] = attrs.field(default=lambda assertion: granted(assertion, ID_JAG, "N_A"))
    second: Callable[[Form], Answer] = attrs.field(default=lambda _form: granted("token-of-chat"))
    _numbers: "itertools.count[int]" = attrs.Factory(itertools.count)

    def at(self, path: str) -> list[Form]:
        """Return the forms that came to ``path``."""
        return [urllib.parse.parse_qs(got.body.decode()) for got in self.server.requests if got.path == path]

    def answer(self, got: Got) -> tuple[int, str, bytes]:
        form = urllib.parse.parse_qs(got.body.decode())
        if got.path == "/chat":
            assert "subject_token" not in form
            status, members = self.second(form)
        else:
            assert (got.path, form["requested_token_type"], form["audience"]) == ("/idp", [ID_JAG], [CHAT])
            claims = {"iss": self.issuer.url, "sub": "alice", "aud": CHAT, "client_id": CLIENT, "scope": SCOPE}
            times = {"exp": int(time.time()) + 250, "jti": f"{next(self._numbers)}"}
            status, members = self.first(self.forge(self.issuer, claims | times))
        return status, "application/json", json.dumps(members).encode()

    def ask(self, path: str = "/chat", name: str = "") -> str:
        """Return the code of a refusal, or the token that the upstream would get."""
        subject = unsigned(sub="alice", jti=name or f"u{next(self._numbers)}").reveal()
        answer = self.service.check(path, authorization=f"Bearer {subject}")
        body: str = answer.denied_response.body
        assert SECRET not in body
        if body:
            return body.partition("(")[2].partition(")")[0]
        (token,) = (header.header.value for header in answer.ok_response.headers if header.header.key == "authorization")
        return token.removeprefix("Bearer ")


@contextlib.contextmanager
def in_a_row(folder: Path) -> Generator[Row]:
    rows: list[Row] = []

    def answer(got: Got) -> tuple[int, str, bytes]:
        return rows[0].answer(got)

    with own_issuer() as issuer, recording(answer) as server:
        checked = {"issuer": issuer.url, "subject": "same", "scope": "requested", "jwksURI": issuer.keys_url, "signature": True}
        cache = {"cache": {"maxTTL": "5m", "maxEntries": 1000}}
        own = {"clientID": CLIENT, "clientSecret": "secret", "tokenEndpoint": f"{server.url}/chat", "grantType": "jwt-bearer"}
        profiles: list[dict[str, object]] = [
            {
                "name": "idp",
                "tokenEndpoint": f"{server.url}/idp",
                "clientID": "client",
                "clientSecret": "secret",
                "issuedToken": checked,
                **cache,
            },
            {"name": "chat", **own, "assertion": {"from": "idp", "audience": CHAT}, **cache},
            {"name": "again", **own, "assertion": {"from": "idp", "audience": CHAT, "reuse": True}},
        ]
        (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles}))
        with serving(folder, POLICY, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", LOG_DECISIONS="all") as service:
            rows.append(Row(service, issuer, server))
            yield rows[0]
            assert service.stop() == 0
            for never in (SECRET, "eyJ", "grpc.handler_failed"):
                assert never not in service.lines()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[Row]:
    with in_a_row(tmp_path_factory.mktemp("row")) as row:
        yield row


@pytest.fixture
def row(shared: Row) -> Row:
    """Both issuers as honest ones, with nothing asked yet."""
    shared.server.requests.clear()
    honest = Row(shared.service, shared.issuer, shared.server)
    shared.forge, shared.first, shared.second = honest.forge, honest.first, honest.second
    return shared


def test_no_assertion_for_anything_else_reaches_the_second_issuer(row: Row) -> None:
    found = {}
    for name, (row.forge, _) in LIES.items():
        found[name] = row.ask()
    assert found == {name: code for name, (_, code) in LIES.items()}
    assert row.at("/chat") == []
    for name, row.forge in HONEST.items():
        assert row.ask() == "token-of-chat", name
    assert [form["scope"] for form in row.at("/chat")] == [[SCOPE]] * len(HONEST)


@pytest.mark.parametrize(
    ("kind", "token_type", "code"),
    [
        *((kind, "N_A", "TXE-3004") for kind in (ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt", f"{ID_JAG} ", "", None, 5)),
        *((ID_JAG, token_type, "TXE-3003") for token_type in ("DPoP", "", 5)),
    ],
)
def test_what_does_not_say_that_it_is_an_assertion_is_none(kind: object, token_type: object, code: str, row: Row) -> None:
    row.first = lambda assertion: (200, {"access_token": assertion, "issued_token_type": kind, "token_type": token_type})
    assert row.ask() in {code, "TXE-3001"}
    assert row.at("/chat") == []


def test_the_second_issuer_cannot_answer_for_the_first(row: Row) -> None:
    """Both have one address, so one of them may be in the place of the other, or a proxy may mix up their answers."""
    swapped: dict[str, Answer] = {}

    def first(assertion: str) -> Answer:
        swapped["/chat"] = granted(assertion, ID_JAG, "N_A")
        return granted("token-of-chat")

    row.first, row.second = first, lambda _form: swapped["/chat"]
    assert row.ask() == "TXE-3004"
    assert row.at("/chat") == []
    # The first one is honest, and the second one answers as it does.
    row.first = lambda assertion: granted(assertion, ID_JAG, "N_A")
    row.second = lambda form: granted(form["assertion"][0], ID_JAG, "N_A")
    assert row.ask() == "TXE-3003"


def test_a_second_issuer_that_returns_the_assertion_hands_it_to_nobody(row: Row) -> None:
    row.second = lambda form: granted(form["assertion"][0])
    assert {row.ask(), row.ask("/again")} == {"TXE-3006"}
    row.second = lambda _form: granted("token-of-chat")
    assert row.ask() == "token-of-chat"


def test_a_repeated_assertion_is_sent_at_most_once_per_request(row: Row) -> None:
    """The first issuer has nothing but one old assertion, and the second one takes none twice."""
    kept: list[str] = []
    taken: set[str] = set()

    def same(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
        kept[:] = kept or [jag()(issuer, claims)]
        return kept[0]

    def once(form: Form) -> Answer:
        (assertion,) = form["assertion"]
        if assertion in taken:
            return 400, {"error": "invalid_grant"}
        taken.add(assertion)
        return granted("token-of-chat")

    row.forge, row.second = same, once
    assert row.ask() == "token-of-chat"
    assert [row.ask() for _ in range(3)] == ["TXE-2001"] * 3
    assert (len(row.at("/idp")), len(row.at("/chat"))) == (4, 4)
    # One that may be sent again is replaced once, and no more, if it is refused.
    row.server.requests.clear()
    assert row.ask("/again", "somebody") == "TXE-2001"
    assert row.ask("/again", "somebody") == "TXE-2001"
    assert len(row.at("/chat")) <= 4
    assert len(row.at("/idp")) <= 4


def test_a_cached_assertion_is_never_sent_for_a_different_caller_token(row: Row) -> None:
    """A kept assertion is found by the caller's token, so what it says of one caller's session is sent for no other."""
    sent = []
    for name in ("one", "two", "one"):
        assert row.ask("/again", name) == "token-of-chat"
        sent.append(row.at("/chat")[-1]["assertion"][0])
    assert sent[0] == sent[2] != sent[1]
    assert len(row.at("/idp")) == len({"one", "two"})
