"""Law: NO_PROXY excepts what one of its items excepts, in any order and with anything between; this machine is always excepted."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.proxies import NoProxy

labels = st.sampled_from(["a", "b", "issuer", "xn--bcher-kva", "0"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: name != "0.0.0.0")  # which is an address
addresses = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).map(str)
hosts = names | addresses
ports = st.sampled_from([80, 443, 8443])
networks = st.builds("{}/{}".format, addresses, st.integers(0, 140))
with_ports = st.builds("{}:{}".format, names | addresses.map(lambda text: f"[{text}]" if ":" in text else text), ports)
items = st.one_of(
    names,
    names.map(lambda name: f".{name}"),
    names.map(lambda name: f"*.{name}"),
    names.map(str.upper),
    addresses,
    networks,
    with_ports,
    st.sampled_from(["", "*", ":", ".", "[", "]:", "/8", "a/8"]),
    st.text(max_size=8).filter(lambda text: "," not in text),
)


@given(st.lists(items, max_size=5), st.sampled_from([",", ", ", " ,\t", ",,"]), hosts, ports)
def test_a_list_is_its_items(found: list[str], between: str, host: str, port: int) -> None:
    covered = NoProxy.of(between.join(found)).covers(host, port)
    assert covered == any(NoProxy.of(item).covers(host, port) for item in (*found, ""))


@given(names, names, ports, ports)
def test_a_name_covers_itself_and_what_is_below_it(name: str, below: str, port: int, other: int) -> None:
    inside = f"{below}.{name}"
    for item, covers in ((name, (True, True)), (f".{name}", (False, True)), (f"*.{name}", (False, True))):
        rules = NoProxy.of(item)
        assert (rules.covers(name, port), rules.covers(inside, port)) == covers
        assert NoProxy.of(f"{item}:{port}").covers(inside, other) == (port == other)
        assert not rules.covers(f"x{name}", port)


@given(st.text(), st.sampled_from(["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1"]), ports)
def test_this_machine(text: str, host: str, port: int) -> None:
    assert NoProxy.of(text).covers(host, port)
