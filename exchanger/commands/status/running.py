"""What a running service says of itself at its metrics port, in the words of ``exchanger status``.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from collections.abc import Iterator, Mapping
from typing import Final, final
from urllib.parse import urlsplit

import attrs
import h11
import orjson
import trio
from prometheus_client.parser import text_string_to_metric_families

from exchanger.model.errors import ConfigurationError, ExchangerError
from exchanger.net.network import SYSTEM
from exchanger.net.stream import ask, open_stream
from exchanger.util.address import format_address
from exchanger.util.text import printable

# Seconds for the whole answer: somebody waits in front of a terminal.
ANSWER_S: Final = 10.0
# Bytes of an answer: hundreds of issuers take some 100 KiB.
MAX_ANSWER: Final = 4 * 1024 * 1024
_DEFAULT_PATH: Final = "/metrics"
_OK: Final = 200
_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, ValueError)
_WIDTH: Final = 12


class NoAnswerError(ExchangerError):
    """The metrics port does not say what was asked."""


@final
@attrs.frozen
class Running:
    """A service: its version, its policy and what is wrong. ``age`` is that of the policy in seconds, ``None`` before the first one."""

    version: str
    entries: int
    age: float | None
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_text(self, url: str) -> str:
        """Return lines for people."""
        count = "1 entry" if self.entries == 1 else f"{self.entries} entries"
        age = "none active" if self.age is None else f"{count} active, known to be current {self.age:.0f} s ago"
        lines = [f"{'service':{_WIDTH}}{url}, version {self.version}", f"{'policy':{_WIDTH}}{age}"]
        lines += ["", "problems:", *(f"  {problem}" for problem in self.problems)] if self.problems else [f"{'problems':{_WIDTH}}none"]
        return "".join(f"{printable(line)}\n" for line in lines)

    def as_json(self, url: str) -> str:
        """Return one JSON object, in one line."""
        policy = {"entries": self.entries, "ageSeconds": self.age}
        content = {"service": url, "healthy": self.healthy, "version": self.version, "policy": policy, "problems": self.problems}
        return orjson.dumps(content).decode() + "\n"


async def look_at_service(url: str) -> Running:
    """Ask the metrics port at ``url``, such as ``http://127.0.0.1:3002``, within ``ANSWER_S``.

    Raises:
        ConfigurationError: it is no such URL
        NoAnswerError: there is no answer, or not that of this service
    """
    host, port, target = _parts(url)
    asked = h11.Request(method="GET", target=target, headers=[("Host", format_address(host, port)), ("Connection", "close")])
    with trio.move_on_after(ANSWER_S):
        try:
            async with await open_stream(SYSTEM.connect, host, port, None) as stream:
                head, body = await ask(stream, asked, b"", MAX_ANSWER)
        except _FAILURES as failure:
            reason = getattr(failure, "strerror", None) or "the connection broke, or does not speak HTTP"
            raise NoAnswerError(f"{url} does not answer: {reason}") from None
        if head.status_code != _OK:
            raise NoAnswerError(f"{url} answered {head.status_code}; METRICS_PATH of the service may be another one")
        return understood(body.decode("utf-8", "replace"), url, SYSTEM.wall())
    raise NoAnswerError(f"{url} did not answer within {ANSWER_S:.0f} s")


def _parts(url: str) -> tuple[str, int, str]:
    wrong = ConfigurationError(("--service must be a URL such as http://127.0.0.1:3002",))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise wrong from None
    if parts.scheme != "http" or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise wrong
    return host, port, parts.path.rstrip("/") or _DEFAULT_PATH


def understood(text: str, url: str, now: float = 0.0) -> Running:
    """Return what the metrics in ``text`` say at ``now``, in seconds since 1970.

    Raises:
        NoAnswerError: they are not those of this service
    """
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    except ValueError:
        raise NoAnswerError(f"{url} does not answer with metrics") from None

    def one(name: str) -> float | None:
        return next((value for _, value in samples.get(name, ())), None)

    version = next((labels.get("version") for labels, _ in samples.get("exchanger_build_info", ())), None)
    entries = one("policy_entries")
    if version is None or entries is None:
        raise NoAnswerError(f"{url} answers with other metrics than this service's")
    return Running(version, int(entries), one("policy_snapshot_age_seconds"), tuple(_problems(samples, now)))


# What each metric says is wrong while it is not zero; braces are its labels and its number.
_WRONG: Final[Mapping[str, str]] = {
    "policy_invalid_documents": "documents with invalid parts, which fail closed: {number}; exchanger status names them",
    "policy_entries_not_granted": "entries outside what their namespaces are granted: {number}",
    "policy_unreadable_objects": "files that cannot be read as they are now: {number}; the next start would be without them",
    "policy_namespace_unreadable": "the right to read the Namespace {policy_namespace} is missing",
    "ext_authz_token_endpoint_breaker_open": "the breaker of {endpoint_host} is open: the token endpoint fails",
    "ext_authz_token_endpoint_new_credentials_rejected": "{endpoint_host} rejects the new credentials of the profile {issuer}",
    "ext_authz_issuer_profiles_rejected": "the file of issuer profiles is rejected, and its previous version is active; the log says why",
    "ext_authz_issuer_values_missing": "values of issuer profiles in Secrets or files that cannot be used: {number}; the log names them",
    "ext_authz_config_without_effect": "environment variables without effect: {number}; config.without_effect in the log names them",
    "ext_authz_tls_certificate_rejected": "the certificate files are rejected, and the previous certificate is in use; the log says why",
    "ext_authz_audit_unwritable": "the audit log cannot be written",
    "ext_authz_audit_lines_lost_total": "lines of the audit log lost since the start: {number}",
    "log_lines_dropped_total": "log lines dropped since the start: {number}",
}


# Another version may have other labels.
_UNNAMED: Final = dict.fromkeys(("policy_namespace", "endpoint_host", "issuer"), "?")


def _problems(samples: Mapping[str, list[tuple[dict[str, str], float]]], now: float) -> Iterator[str]:
    if "policy_snapshot_age_seconds" not in samples:
        yield "no policy is known yet, so every request is refused; the log says what the service waits for"
        yield from _wrong(samples, now)
        return
    if any(not value for _, value in samples.get("policy_source_connected", ())):
        yield "policy changes are not followed: the policy source cannot be reached"
    if any(not value for _, value in samples.get("policy_entries", ())):
        yield "no entry is active: with POLICY_REQUIRED every request is refused, otherwise all pass unchanged"
    yield from _wrong(samples, now)


def _wrong(samples: Mapping[str, list[tuple[dict[str, str], float]]], now: float) -> Iterator[str]:
    if any(value < now for _, value in samples.get("ext_authz_tls_certificate_expiry_timestamp_seconds", ())):
        yield "the certificate has expired: gateways that verify it refuse to connect"
    if any(not value for _, value in samples.get("ext_authz_token_cache_store_connected", ())):
        yield "the store that replicas share is lost, and each replica keeps its own tokens; token_cache.store_lost in the log says why"
    for name, sentence in _WRONG.items():
        for labels, value in samples.get(name, ()):
            if value:
                yield sentence.format_map({**_UNNAMED, **labels, "number": f"{value:.0f}"})
