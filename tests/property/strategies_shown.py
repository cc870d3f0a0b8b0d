"""Paths with a canary where some server finds a credential: a query, a parameter, a fragment, user information."""

from typing import Final

from hypothesis import strategies as st

CANARY: Final = "c4n4ry"

_PLAIN: Final = "abz019._~$&'()*+,=-"
names = st.text(_PLAIN, min_size=1, max_size=6)
plain_paths = (
    st.lists(names, min_size=1, max_size=4)
    .map("/{}".format)
    .flatmap(lambda _: st.lists(names, min_size=1, max_size=4))
    .map(lambda segments: "/" + "/".join(segments))
)
_noise = st.text(_PLAIN + ":", max_size=6)


@st.composite
def escaped(draw: st.DrawFn, char: str) -> str:
    """Return ``char`` as it is, in another form of Unicode, or escaped up to four times, digits in any case and escaped in their turn."""
    others = {"?": "\uff1f\ufe56", "#": "\uff03\ufe5f", ";": "\uff1b\u037e", "@": "\uff20\ufe6b", "/": "\\\uff0f", ":": "\uff1a"}
    text: str = draw(st.sampled_from([char, char, *others.get(char, "")]))
    for _ in range(draw(st.integers(0, 4))):
        octets = [f"%{octet:02X}" for octet in text.encode()]
        chosen = [draw(st.booleans()) or not part.isascii() for part in text]
        if text.isascii():
            text = "".join(octet if choice else part for octet, choice, part in zip(octets, chosen, text, strict=True))
        else:
            text = "".join(octets)
        text = "".join(part.lower() if draw(st.booleans()) else part for part in text)
    if "%" in text and draw(st.booleans()):  # as a gateway masks a byte, and as lax decoders drop one
        at = text.index("%") + 1
        text = text[:at] + draw(st.sampled_from(["!", "%ff", "\t"])) + text[at:]
    return text


@st.composite
def hiding_delimiters(draw: st.DrawFn) -> str:
    """Return a path with the canary behind a delimiter."""
    delimiter = draw(st.sampled_from("?#;").flatmap(escaped) | st.sampled_from(["%u003f", "%U003B", "%c0%bf", "%E0%80%BB"]))
    tail = draw(st.text(_PLAIN + "/%@:;?#", max_size=8))
    return f"{draw(plain_paths)}{delimiter}{draw(st.sampled_from(['', 'access_token=', 'a/b=']))}{CANARY}{tail}"


@st.composite
def hiding_userinfo(draw: st.DrawFn) -> str:
    """Return a path with the canary before a host: after two slashes in any form, after a scheme, or, with a name, where slashes merged."""
    slash = st.just("/").flatmap(escaped)
    double = st.tuples(slash, st.sampled_from(["", "", "%20", "!", "%09"]), slash).map("".join)
    first = st.just("/") | slash
    named = st.tuples(names, st.just(":").flatmap(escaped)).map("".join)
    beginning = draw(
        st.one_of(
            st.tuples(double, named | _noise),
            st.tuples(plain_paths, double, named | _noise),
            st.tuples(first, named),
            st.tuples(plain_paths, st.just("/"), named),
            st.tuples(st.sampled_from(["http:/", "/https:/", "/proxy/http:/", "/x/https:%2f"]), named | _noise),
        )
    )
    password = draw(st.sampled_from(["", "%2f", "\\", "%3f", "%23", "%3B", "%40"]))
    return f"{''.join(beginning)}{CANARY}{password}{draw(_noise)}{draw(st.just('@').flatmap(escaped))}host{draw(plain_paths)}"


hiding = hiding_delimiters() | hiding_userinfo()
