from exchanger.util.text import MAX_QUOTED, bounded, quoted


def test_a_short_text_is_repeated() -> None:
    assert quoted("primary") == '"primary"'


def test_a_long_text_is_cut() -> None:
    assert quoted("a" * MAX_QUOTED) == f'"{"a" * MAX_QUOTED}"'
    assert quoted("a" * (MAX_QUOTED + 1)) == f'"{"a" * (MAX_QUOTED - 1)}…"'


def test_what_a_terminal_would_obey_is_replaced() -> None:
    assert quoted("a\x1b[2J\nb\u202e") == '"a\ufffd[2J\ufffdb\ufffd"'


def test_what_is_no_text_goes_without_quotation_marks_and_is_bounded_all_the_same() -> None:
    assert bounded("1.0") == "1.0"
    assert bounded("1" * (MAX_QUOTED + 1)) == "1" * (MAX_QUOTED - 1) + "…"
    assert bounded("\x1b1") == "\ufffd1"
