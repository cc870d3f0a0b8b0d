"""The JSON Schema (2020-12) of a policy document, for editors and CI, generated from the readers' tables of fields.

It never refuses what the service accepts. ``UNSAID`` lists what it accepts and the service refuses.

Must not know: documents.
"""

from typing import Final

from exchanger.formats.yaml.schema import BEYOND_JSON, mapping
from exchanger.policy.documents.document import DOCUMENT_FIELDS, VERSION
from exchanger.policy.headers import MAX_HEADERS
from exchanger.util.json_schema import Schema, document

# What the service refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "which issuer profiles exist",
    "the length of strings",
    "whether an IPv6 address is valid, and whether a service name exists that is written instead of a port",
    "a pathPrefix that begins with the entry's host",
    "what a pathPrefix with escapes or non-ASCII characters becomes once servers have decoded and normalised it",
    f"one header twice, and more than {MAX_HEADERS} headers",
    "whether resourceMetadata is on the entry's own host, and whether the number of its port is one",
)


def policy_schema() -> Schema:
    """Return the schema of a document, the text under ``config.yaml`` in a ConfigMap."""
    description = "An exchanger policy: the text under config.yaml in a ConfigMap."
    return document("policy", VERSION, description, UNSAID, mapping(DOCUMENT_FIELDS))
