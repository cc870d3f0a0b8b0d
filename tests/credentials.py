"""Credentials as most tests need them: with a client secret."""

from exchanger.model.issuer import Credentials
from exchanger.model.secret import Secret


def client_secret(credentials: Credentials) -> Secret:
    assert isinstance(credentials.proof, Secret)
    return credentials.proof
