"""Templates of scenario files: fields, literals, comments and trim markers as in Go's text/template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.commands.scenarios.go_format.template import NotRendered, render

VALUES = {"Name": "n", "Empty": ""}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("a {{ .Name }} b{{.Empty}}{{$.Name}}", "a n bn"),
        ("a \n {{- .Name -}} \t\n b", "anb"),
        ("a {{/* a {{ comment }} */}} b", "a  b"),
        ('{{ "a\\n" }}{{ `b\\n` }}', "a\nb\\n"),
        ("{{\n.Name\n}} }} {", "n }} {"),
    ],
)
def test_actions_are_replaced(template: str, rendered: str) -> None:
    assert render(template, VALUES) == rendered


@pytest.mark.parametrize(
    "template", ["{{", "{{ }}", "{{ .name }}", "{{ .Name.More }}", "{{ if .Name }}", "{{ .Name | print }}", "{{-.Name}}", '{{ "a }}']
)
def test_other_actions_are_refused_with_their_line(template: str) -> None:
    found = render(f"one\n{template}", VALUES)
    assert isinstance(found, NotRendered)
    assert found.line == 2


@given(st.text())
def test_a_text_without_actions_is_itself_and_nothing_raises(text: str) -> None:
    assert isinstance(render(text, VALUES), str | NotRendered)
    if "{{" not in text:
        assert render(text, VALUES) == text
