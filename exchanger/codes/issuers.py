"""Codes of the issuer profiles file: POL-50xx."""

from typing import Final

from exchanger.codes.code import Code, Example

UNREADABLE_ISSUERS: Final = Code(
    "POL-5001",
    "The file of issuer profiles cannot be read.",
    ("It is not YAML, or not UTF-8.", "It is not a mapping with the field issuers."),
    "Correct the syntax. Profiles are a list under issuers.",
    "issuers: [\n",
    Example.ISSUERS,
)
WRONG_PROFILE: Final = Code(
    "POL-5002",
    "An issuer profile is invalid.",
    (
        "A field is misspelt, missing or of the wrong type.",
        "The token endpoint is no https URL.",
        "Credentials are missing, or given twice.",
        "Two profiles have the same name.",
    ),
    "Correct the field that the message names. The version before stays in force until then.",
    "issuers:\n  - name: primary\n    tokenEndpoint: issuer.example.com\n    clientID: exchanger\n    clientSecret: s\n",
    Example.ISSUERS,
)
