"""The JSON Schema (2020-12) of a grants file, generated from its reader's tables of fields. It never refuses what the reader accepts.

Must not know: what grants lead to.
"""

from typing import Final

from exchanger.formats.yaml.schema import BEYOND_JSON, mapping
from exchanger.policy.documents.document import VERSION
from exchanger.policy.grants.reader import GRANTS_FIELDS, MAX_AREAS
from exchanger.util.json_schema import Schema, document

# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "whether a namespaceSelector is a label selector",
    "that selectors and label placeholders need Namespace objects (not read with POLICY_NAMESPACES)",
    f"more than {MAX_AREAS} pairs of a host and a pathPrefix",
    "whether an IPv6 address is valid and in its shortest form, and whether a service name exists that is written instead of a port",
    "the length of strings",
    "a pathPrefix of the baseline that begins with the entry's host",
    "what a path prefix with escapes, placeholders or non-ASCII characters becomes once servers have decoded and normalised it",
)


def grants_schema() -> Schema:
    """Return the schema of the file in POLICY_GRANTS_FILE, which is also that of the chart's value ``policy.grants``."""
    return document(
        "grants",
        VERSION,
        "What each namespace may do with exchanger: the file that POLICY_GRANTS_FILE names.",
        UNSAID,
        mapping(GRANTS_FIELDS),
    )
