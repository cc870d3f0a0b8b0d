import structlog
from structlog.testing import capture_logs

from exchanger.app.event_log import MetadataLog


def test_what_issuers_publish_has_a_line_when_it_is_known_and_one_when_it_cannot_be_had() -> None:
    with capture_logs() as lines:
        log = MetadataLog(structlog.get_logger())
        log.metadata_known("primary")
        log.metadata_failed("primary", "the metadata name another issuer")
        log.keys_known("https://login.example.com", 2)
        log.keys_failed("https://login.example.com" + "\u202e" * 1000, "there is no metadata")
    assert lines[:3] == [
        {"event": "issuers.metadata_known", "log_level": "info", "issuer": "primary"},
        {"event": "issuers.metadata_failed", "log_level": "error", "issuer": "primary", "reason": "the metadata name another issuer"},
        {"event": "issuers.keys_known", "log_level": "info", "issuer": "https://login.example.com", "keys": 2},
    ]
    assert (lines[3]["event"], lines[3]["log_level"]) == ("issuers.keys_failed", "error")
    assert len(lines[3]["issuer"]) < 300
    assert lines[3]["issuer"].isprintable()
