"""Credentials as most tests need them: with a client secret."""

from exchanger.values.issuer import Credentials
from exchanger.values.secret import Secret


def client_secret(credentials: Credentials) -> Secret:
    assert isinstance(credentials.proof, Secret)
    return credentials.proof
