import copy
import json
import pickle
from collections.abc import Callable

import attrs
import pytest

from exchanger.model.issuer import Credentials
from exchanger.model.secret import Secret

TEXT = "s3cr3t-token"


@pytest.mark.parametrize("show", [repr, str, ascii, "{}".format, "{!r:>40}".format, "{!s}".format, "%s".__mod__])
@pytest.mark.parametrize("holder", [Secret(TEXT), [Secret(TEXT)], {"token": Secret(TEXT)}])
def test_no_way_of_formatting_shows_it(show: Callable[[object], str], holder: object) -> None:
    assert "Secret(" in show(holder)
    assert TEXT not in show(holder)


@pytest.mark.parametrize("convert", [repr, attrs.asdict, attrs.astuple])
def test_a_value_that_holds_it_does_not_show_it(convert: Callable[[object], object]) -> None:
    assert TEXT not in str(convert(Credentials("id", Secret(TEXT))))


def test_asdict_without_recursion_keeps_the_secret() -> None:
    secret = Secret(TEXT)
    assert attrs.asdict(Credentials("id", secret), recurse=False)["proof"] is secret


def test_it_is_not_serialised() -> None:
    with pytest.raises(TypeError, match="not to be pickled"):
        pickle.dumps(Secret(TEXT))
    with pytest.raises(TypeError, match="not to be pickled"):
        copy.copy(Secret(TEXT))
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))


def test_it_is_not_changed() -> None:
    secret = Secret(TEXT)
    with pytest.raises(AttributeError):
        setattr(secret, "_text", "other")  # noqa: B010 - a type checker would forbid the statement
    with pytest.raises(AttributeError):
        delattr(secret, "_text")
    assert secret.reveal() == TEXT


def test_equal_texts_are_equal_secrets() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != Secret("other")
    text: object = TEXT
    assert Secret(TEXT) != text
