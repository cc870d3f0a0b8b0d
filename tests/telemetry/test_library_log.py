import logging

import pytest

from exchanger.telemetry.library_log import libraries_heard
from tests.telemetry.records import CANARY


class FakeLogger:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def warning(self, event: str, /, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, /, **fields: object) -> None:
        self.lines.append(("error", event, fields))


def test_of_libraries_on_the_list_warnings_are_passed_on_and_of_an_exception_its_type() -> None:
    logger = FakeLogger()
    with libraries_heard(logger):
        logging.getLogger("watchfiles.main").warning("%d changes", 3)
        logging.getLogger("watchfiles.main").info("1 change detected")
        try:
            int(CANARY)
        except ValueError:
            logging.getLogger("trio").exception("task crashed")

    assert logger.lines == [
        ("warning", "library.message", {"logger": "watchfiles.main", "message": "3 changes"}),
        ("error", "library.message", {"logger": "trio", "message": "task crashed", "error": "ValueError"}),
    ]


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "urllib3", "kubernetes", "anything"])
def test_other_libraries_are_silent(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    logger = FakeLogger()
    with libraries_heard(logger):
        logging.getLogger(name).error("POST %s", CANARY)

    assert logger.lines == []
    assert CANARY not in "".join(capfd.readouterr())


def test_everything_is_as_before_when_it_ends() -> None:
    root, heard = logging.getLogger(), logging.getLogger("watchfiles")
    before = (list(root.handlers), list(heard.handlers), heard.level, heard.propagate)
    with libraries_heard(FakeLogger()):
        assert (list(root.handlers), list(heard.handlers), heard.level, heard.propagate) != before

    assert (list(root.handlers), list(heard.handlers), heard.level, heard.propagate) == before
