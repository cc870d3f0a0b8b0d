"""Law: a policy's host is one that requests can have, or it closes every host that its author may have meant, and no other.

What a text names is known here from how it was made; for any other text a small model finds the names that are beyond doubt.
"""

import re

from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from exchanger.policy.authority import MAX_HOSTS, MAX_TEXT, WILDCARD, is_host, normalise_policy_host, read_authority, read_host
from exchanger.util.text import MAX_QUOTED

# The last label is none of the words and schemes that surround names below.
names = st.lists(st.text(alphabet="ab01-", min_size=1, max_size=3), max_size=2).map(lambda labels: ".".join([*labels, "host", "example"]))
hosts = names | st.ip_addresses(v=6).map(lambda address: normalise_policy_host(str(address))) | st.sampled_from(["localhost", "10.0.0.1"])

schemes = st.sampled_from(["https://", "HTTP://", "http:", "//", "x+y://", "grpc:/", "wss//"])
users = st.sampled_from(["", "", "user@", "user:sec.ret.example@"])
tails = st.sampled_from(["/", "/v1.2/orders", "/?to=other.example", "#x", "?x", "\\", ":443/", "./", "..", ":443:1"])
wrapped = st.sampled_from(["'{}'", '"{}"', "({})", "“{}”", "{}\u200b", "\ufeff{}", ".{}", "{},"])
separators = st.sampled_from([",", ", ", " ", "; ", "|", "\n", "\u00a0", "，", '","'])


@st.composite
def written(draw: st.DrawFn, host: str, of: st.SearchStrategy[str] = users) -> str:
    """Draw a text that is about ``host`` alone, and that no request has."""
    kind = draw(st.sampled_from(["url", "tail", "wrapped"]))
    shown = draw(st.sampled_from([host, host.upper()]))
    if kind == "url":
        return draw(schemes) + draw(of) + shown + draw(st.just("") | tails)
    if kind == "tail":
        return shown + draw(tails)
    return draw(wrapped).replace("{}", shown)


@given(hosts.flatmap(lambda host: st.tuples(st.just(host), written(host))))
def test_a_host_in_other_clothes_is_closed_alone(case: tuple[str, str]) -> None:
    host, text = case
    reading = read_host(text.strip())
    event(reading.problem[:20])

    assert reading.hosts == (host,)
    assert "sec.ret" not in reading.problem


@given(
    st.lists(
        hosts.flatmap(lambda host: st.tuples(st.just(host), st.just(host) | written(host, st.just("")))), min_size=2, max_size=MAX_HOSTS
    ),
    separators,
)
def test_of_a_list_each_host_is_closed_and_no_other(cases: list[tuple[str, str]], separator: str) -> None:
    text = separator.join(text for _, text in cases)
    assume(not re.search(r"\.\s|\s\.", text))  # a blank beside a dot may also have got into one name
    reading = read_host(text.strip())

    assert reading.problem
    assert sorted(map(str, reading.hosts)) == sorted({host for host, _ in cases})


@given(st.lists(names, min_size=MAX_HOSTS + 1, unique=True))
def test_more_hosts_than_can_be_named_are_unknown(many: list[str]) -> None:
    reading = read_host(",".join(many)[:MAX_TEXT])

    assert reading.hosts[-1] is None
    assert len(reading.hosts) == MAX_HOSTS + 1


@given(st.text(max_size=40), st.sampled_from("${}<>%*"), st.text(max_size=40))
def test_a_template_names_none(before: str, sign: str, after: str) -> None:
    text = "x" + before + sign + after + "x"
    if not read_host(text).problem:
        assert sign == "*" and text.partition(":")[2].strip() == "*x"  # noqa: PT018 - never, as nothing follows such a port
    assert read_host(text).hosts == (None,)


ascii_texts = st.text(alphabet="ab.:/@,-*\\ []#x1", max_size=24) | st.text(st.characters(max_codepoint=127), max_size=24)


@given(ascii_texts)
@example("a.b://c.d")
@example("1.a::")
def test_no_domain_in_a_text_is_left_open(text: str) -> None:
    text = text.strip()
    if not text or set("@?#") & set(text):  # where secrets may be, nothing is looked for
        return
    reading = read_host(text)
    if None in reading.hosts:
        return
    for word in re.findall(r"[A-Za-z0-9_.-]+(?!://)", re.sub(r"[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\])", " ", text)):
        name = ".".join(label for label in word.lower().split(".") if label)
        if "." in name and re.search("[a-z]", name.rpartition(".")[2]):
            assert name in reading.hosts


@given(st.text(max_size=60) | ascii_texts | st.text(alphabet="a.é\u0308\u200b😀ß、", max_size=12))
@example("*.A:80")
def test_any_text_is_a_host_or_a_problem_with_a_sentence(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_host(text)
    event("valid" if not reading.problem else f"{len(reading.hosts)} hosts")

    assert reading.hosts
    assert len(set(reading.hosts)) == len(reading.hosts) <= MAX_HOSTS + 1
    assert all(host is None or is_host(host.removeprefix(WILDCARD)) for host in reading.hosts)
    assert reading.problem.isprintable()
    assert len(reading.problem) < 6 * MAX_QUOTED
    if not reading.problem:
        wildcard = WILDCARD if text.startswith(WILDCARD) else ""
        assert reading.hosts == (wildcard + normalise_policy_host(text.removeprefix(wildcard)),)
    if read_authority(text):
        assert reading.hosts == (read_authority(text),)
        assert not reading.problem
