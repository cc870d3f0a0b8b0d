"""Codes of the issuer profiles file: POL-50xx."""

from typing import Final

from exchanger.codes.code import Code, Example, Severity

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
        "The token endpoint is not an https URL.",
        "Credentials are missing, or given twice.",
        "Two profiles have the same name.",
        "The client authenticates in two ways, or mutually exclusive fields are set.",
        "subjectToken lacks what verification needs: audiences, or keys that the issuer publishes.",
    ),
    "Correct the field that the message names. The previous version stays in force until then.",
    "issuers:\n  - name: primary\n    tokenEndpoint: issuer.example.com\n    clientID: exchanger\n    clientSecret: s\n",
    Example.ISSUERS,
)
SCOPE_ALONE: Final = Code(
    "POL-5003",
    "An exchange names resources or audiences, but its issuer's grant accepts only a scope.",
    ("The profile has grantType: entra-obo. Entra ID takes the target from the scope.",),
    "Put the target into the scope, such as api://orders/.default, and leave out resources and audiences. Until then every request that "
    "the entry decides fails with TXE-1002.",
    "The profile has grantType: entra-obo, and the entry has audiences: [orders].",
    Example.SITUATION,
    Severity.WARNING,
)
NEEDS_RESPONSES: Final = Code(
    "POL-5005",
    "A profile drops tokens that upstreams refuse, which works only with ext_proc.",
    (
        "The profile has cache.dropRefused: true. The service learns of refusals from responses, and ext_authz sees none.",
        "With ext_proc, the gateway must allow mode overrides (allow_mode_override; chart: extProc.recall).",
    ),
    "Nothing, if the gateway uses ext_proc and allows mode overrides. Otherwise remove the field: it has no effect.",
    "issuers:\n  - name: primary\n    tokenEndpoint: https://issuer.example.com/token\n    clientID: exchanger\n    clientSecret: s\n"
    "    cache: {maxTTL: 5m, maxEntries: 100, dropRefused: true}\n",
    Example.ISSUERS,
    Severity.NOTICE,
)
