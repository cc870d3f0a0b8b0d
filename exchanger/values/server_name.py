"""The name by which a TLS server is told apart and proves itself. Must not know: how connections are made, or to whom."""


def tls_server_name(host: str) -> str:
    """Return the name for SNI and for the server's certificate: ``host``, a name or an address, without the dot of an absolute name.

    Neither has that dot (RFC 6066 section 3, https://www.rfc-editor.org/rfc/rfc6066#section-3; RFC 5280 section 4.2.1.6). It is for the
    resolver alone, which is asked for the name as it was written.
    """
    return host.removesuffix(".")
