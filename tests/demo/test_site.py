"""Ports and subject tokens of one demo."""

from pathlib import Path

import attrs

from exchanger.demo.setup import DemoPorts, free_ports
from exchanger.scenarios.scenario import Call
from exchanger.scenarios.target import request_of
from exchanger.scenarios.tokens import Subject, claims_of, make_subjects


def test_free_ports_differ() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(0 < port < 65536 for port in ports)


def test_subject_tokens_are_valid_and_expired() -> None:
    subjects = make_subjects("bob", now=1_000_000)
    valid, expired = claims_of(subjects.token(Subject.VALID)), claims_of(subjects.token(Subject.EXPIRED))
    assert valid is not None
    assert expired is not None
    assert valid["sub"] == expired["sub"] == "bob"
    assert (valid["iat"], valid["exp"]) == (1_000_000, 1_086_400)
    assert (expired["iat"], expired["exp"]) == (992_800, 996_400)
    assert subjects.token(Subject.NONE) == ""


def test_a_site_hides_its_tokens() -> None:
    subjects = make_subjects()
    site = DemoPorts(envoy_port=1, grpc_port=2, metrics_port=3, token_port=4, upstream_port=5, policy=Path("/p"), subjects=subjects)
    assert site.gateway == "http://127.0.0.1:1"
    assert attrs.evolve(site, console_port=6).console == "http://127.0.0.1:6"
    assert subjects.valid not in repr(site)
    assert subjects.expired not in repr(site)


def test_calls_become_requests() -> None:
    call = Call("h.example.com", "/a", method="PUT", headers=(("Origin", "o"),))
    assert request_of(call, "t").headers == (("Host", "h.example.com"), ("Authorization", "Bearer t"), ("Origin", "o"))
    assert request_of(call, "").headers == (("Host", "h.example.com"), ("Origin", "o"))
    assert (request_of(call, "").method, request_of(call, "").target) == ("PUT", "/a")
