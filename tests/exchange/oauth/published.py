"""An issuer in memory that publishes documents and answers token requests."""

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, final
from urllib.parse import parse_qs

import attrs

from exchanger.model.issuer import Credentials, Issuer
from exchanger.model.secret import Secret
from tests.exchange.oauth.fakes import Peer, response, success, token_request

ISSUER: Final = "http://issuer.example.com"
OPENID: Final = "/.well-known/openid-configuration"
OAUTH: Final = "/.well-known/oauth-authorization-server"
TOKEN: Final = "/token"
ENDS: Final = b"the end of the connection"


class Steady(Random):
    """Chance that adds and takes nothing."""

    def random(self) -> float:
        return 0.0


def metadata(issuer: str = ISSUER, **more: object) -> bytes:
    return document({"issuer": issuer, "token_endpoint": f"{ISSUER}{TOKEN}", "jwks_uri": f"{ISSUER}/keys", **more})


def document(members: object, *headers: str) -> bytes:
    return response(json.dumps(members).encode(), 200, *headers)


def discovered(discovery: str = ISSUER, name: str = "primary", **more: object) -> Issuer:
    plain = Issuer(name, "", "issuer.example.com", token_request().issuer.auth_method, Credentials("client", Secret("secret")))
    return attrs.evolve(plain, discovery=discovery, **more)  # type: ignore[arg-type]  # fields of an issuer


@final
@attrs.define(eq=False, repr=False)
class Site:
    """Answers GETs of ``documents`` and POSTs by ``token``, on any connection; ``gets`` and ``posts`` are what was asked for.

    The answer ``ENDS`` to a POST is the end of its connection, and an empty one is none.
    """

    documents: dict[str, bytes] = attrs.field(factory=dict)
    token: Callable[[Mapping[str, str]], bytes] = lambda _: response(success())
    gets: list[str] = attrs.field(factory=list)
    posts: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)
    heads: list[str] = attrs.field(factory=list)

    async def serve(self, peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            self.heads.append(head.decode())
            method, path, _ = head.decode().split("\r\n")[0].split(" ")
            if method == "GET":
                self.gets.append(path)
                found = self.documents.get(path, response(b"", 404))
                if not found:  # no answer at all
                    continue
                await peer.send(found)
            else:
                found_fields = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
                fields = {name: value for name, (value,) in found_fields.items()}  # none comes twice
                self.posts.append((path, fields))
                answer = self.token(fields)
                if answer == ENDS:
                    await peer.close()
                    return
                await peer.send(answer)
