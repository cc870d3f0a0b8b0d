import attrs
import structlog
from structlog.testing import capture_logs

from exchanger.app.event_log import MetadataLog, RotationLog
from tests.decision.examples import PRIMARY


def test_what_issuers_publish_has_a_line_when_it_is_known_and_one_when_it_cannot_be_had() -> None:
    with capture_logs() as lines:
        log = MetadataLog(structlog.get_logger())
        log.metadata_known("primary")
        log.metadata_failed("primary", "the metadata names another issuer")
        log.keys_known("https://login.example.com", 2)
        log.keys_failed("https://login.example.com" + "\u202e" * 1000, "there is no metadata")
    assert lines[:3] == [
        {"event": "issuers.metadata_known", "log_level": "info", "issuer": "primary"},
        {"event": "issuers.metadata_failed", "log_level": "error", "issuer": "primary", "reason": "the metadata names another issuer"},
        {"event": "issuers.keys_known", "log_level": "info", "issuer": "https://login.example.com", "keys": 2},
    ]
    assert (lines[3]["event"], lines[3]["log_level"]) == ("issuers.keys_failed", "error")
    assert len(lines[3]["issuer"]) < 300
    assert lines[3]["issuer"].isprintable()


def test_new_credentials_that_are_refused_have_a_warning_with_the_end_of_the_previous_ones() -> None:
    left: dict[str, float] = {PRIMARY.name: 600.0}
    with capture_logs() as lines:
        log = RotationLog(structlog.get_logger(), left.get, wall=lambda: 1_800_000_000.0)
        log.changed(PRIMARY, True)
        log.changed(attrs.evolve(PRIMARY, name="other"), True)
        log.changed(PRIMARY, False)
    refused, unknown, accepted = lines
    named = {"issuer": PRIMARY.name, "endpoint": PRIMARY.endpoint_host}
    assert refused.pop("text").startswith("the token endpoint accepts the previous credentials")
    assert refused == {
        "event": "issuers.new_credentials_refused",
        "log_level": "warning",
        **named,
        "previous_until": "2027-01-15T08:10:00Z",
    }
    assert "previous_until" not in unknown
    assert accepted == {"event": "issuers.new_credentials_accepted", "log_level": "info", **named}
