import pytest

from exchanger.model.proxy import Proxy
from exchanger.net.proxies import EnvironmentProxies, NoProxy

ONE, TWO = Proxy(False, "one.example", 1), Proxy(False, "two.example", 2)


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        # Names and ports, beside the law in tests/property/test_net_pool.py.
        ("example.com", "example.com.evil", 443, False),
        ("EXAMPLE.com", "issuer.example.COM", 443, True),
        ("example.com", "example.com.", 443, True),
        ("example.com.", "example.com", 443, True),
        ("bücher.example", "shop.xn--bcher-kva.example", 443, True),
        ("example.com:", "example.com", 8443, True),
        ("10.0.0.1:443", "10.0.0.1", 443, True),
        ("10.0.0.1:443", "10.0.0.1", 8443, False),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 444, False),
        ("*:443", "example.com", 443, False),
        # Addresses and networks.
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1", "10.0.0.2", 443, False),
        ("10.0.0.1", "110.0.0.1", 443, False),
        ("2001:db8::1", "2001:db8:0::1", 443, True),
        ("[2001:db8::1]", "2001:db8::1", 443, False),
        ("[a.example]:443", "a.example", 443, True),
        ("*a.example", "a.example", 443, False),
        ("::ffff:10.0.0.0/104", "10.9.8.7", 443, True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", 443, False),
        ("::/0", "2001:db8::1", 443, True),
        ("10.0.0.1", "::ffff:10.0.0.1", 443, True),
        ("10.0.0.0/8", "10.9.8.7", 443, True),
        ("10.1.2.3/8", "10.9.8.7", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/8", "issuer.example.com", 443, False),
        ("10.0.0.0/8", "2001:db8::1", 443, False),
        ("10.0.0.0/33", "10.0.0.0", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("*", "10.0.0.1", 443, True),
        ("a.example b.example", "b.example", 443, False),
        # What says nothing.
        ("", "issuer.example.com", 443, False),
        (":443", "issuer.example.com", 443, False),
        (".", "issuer.example.com", 443, False),
        ("*.", "issuer.example.com", 443, False),
        ("\u00fc" * 70, "issuer.example.com", 443, False),
        ("\u00fc..example, issuer.example.com", "issuer.example.com", 443, True),
        ("http://issuer.example.com", "issuer.example.com", 443, False),
        # This machine.
        ("", "::ffff:127.0.0.1", 443, True),
        ("", "localhost.example.com", 443, False),
    ],
)
def test_no_proxy(text: str, host: str, port: int, covered: bool) -> None:
    assert NoProxy.of(text).covers(host, port) is covered


def test_each_scheme_has_its_proxy() -> None:
    both = EnvironmentProxies(ONE, TWO)
    assert both.proxy_for("a.example", 443, secure=True) == ONE
    assert both.proxy_for("a.example", 80, secure=False) == TWO
    assert EnvironmentProxies(https=ONE).proxy_for("a.example", 80, secure=False) is None
    assert EnvironmentProxies(http=ONE).proxy_for("a.example", 443, secure=True) is None
    assert EnvironmentProxies(ONE, TWO, NoProxy.of("a.example")).proxy_for("a.example", 443, secure=True) is None
