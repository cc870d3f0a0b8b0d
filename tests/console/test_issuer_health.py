from exchanger.console.issuer_health import MAX_ISSUERS, IssuerHealth, shown_issuers


def test_issuers_that_are_called_as_usual_are_not_listed() -> None:
    assert shown_issuers([IssuerHealth("a", "a.example", in_flight=3, max_in_flight=4), IssuerHealth("b", "b.example")]) == {
        "listed": [],
        "more": 0,
    }


def test_those_that_are_not_called_come_first_then_the_longest_queue() -> None:
    issuers = [
        IssuerHealth("few", "h", queued=1),
        IssuerHealth("many", "h", queued=5, in_flight=64, max_in_flight=64),
        IssuerHealth("down", "down.example", is_open=True, retry_in=3.94, in_flight=1),
    ]

    shown = shown_issuers(issuers)["listed"]

    assert isinstance(shown, list)
    assert [issuer["name"] for issuer in shown] == ["down", "many", "few"]
    assert shown[0] == {
        "name": "down",
        "endpoint": "down.example",
        "breaker_open": True,
        "retry_in_s": 3.9,
        "queued": 0,
        "in_flight": 1,
        "max_in_flight": None,
    }


def test_the_list_is_short_and_its_names_too() -> None:
    shown = shown_issuers(IssuerHealth(f"{number:03}\u202e" + "n" * 300, "h" * 300, is_open=True) for number in range(MAX_ISSUERS + 3))

    assert isinstance(shown["listed"], list)
    assert (len(shown["listed"]), shown["more"]) == (MAX_ISSUERS, 3)
    assert all(len(issuer[field]) <= 64 and issuer[field].isprintable() for issuer in shown["listed"] for field in ("name", "endpoint"))
