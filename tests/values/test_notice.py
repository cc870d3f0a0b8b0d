from exchanger.values.notice import MAX_NOTICES, SUBJECT_LIMIT, TEXT_LIMIT, Notice, Notices


def notice(number: int) -> Notice:
    return Notice(f"ConfigMap a/{number}", "is not in force", "label it")


def test_a_notice_is_a_sentence() -> None:
    assert str(notice(1)) == "ConfigMap a/1 is not in force (label it)"


def test_what_authors_wrote_is_bounded_and_printable() -> None:
    found = Notice("a\x1b[2J" * 1000, "b\n" * 10_000, "c" * 10_000)
    assert (len(found.subject), len(found.text), len(found.remedy)) == (SUBJECT_LIMIT, TEXT_LIMIT, TEXT_LIMIT)
    assert str(found).isprintable()


def test_the_first_are_kept_and_the_others_counted() -> None:
    few, many = Notices.of(map(notice, range(2))), Notices.of(map(notice, range(MAX_NOTICES + 5)))
    assert (few.listed, few.more, few.count) == ((notice(0), notice(1)), 0, 2)
    assert (len(many.listed), many.more, many.count) == (MAX_NOTICES, 5, MAX_NOTICES + 5)
    assert Notices.of(map(notice, range(30)), 1000).more == 1000 - MAX_NOTICES
