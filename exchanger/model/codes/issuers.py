"""Codes of the issuer profiles file: POL-50xx."""

from typing import Final

from exchanger.model.codes.code import Code, Example, Severity

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
        "subjectToken lacks what verification needs: audiences, keys that the issuer publishes, or a client that may ask the issuer.",
    ),
    "Correct the field that the message names. The previous version stays active until then.",
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
)
NOTHING_TO_PROVE: Final = Code(
    "POL-5004",
    "An exchange names no audience and no resource, but its issuer's tokens must be for what the policy requests.",
    ("The profile has issuedToken with audience: requested, which is the default.",),
    "Name the audiences in the entry, or list those of the issuer's tokens in issuedToken.audience. Until then every request that the "
    "entry decides fails with TXE-3008.",
    "The profile has issuedToken: {subject: same}, and the entry has only a scope.",
    Example.SITUATION,
)
NEEDS_RESPONSES: Final = Code(
    "POL-5005",
    "A profile drops tokens that upstreams refuse, which works only with ext_proc.",
    (
        "The profile has cache.evictRejected: true. The service learns of refusals from responses, and ext_authz sees none.",
        "With ext_proc, the gateway must allow mode overrides (allow_mode_override; chart: extProc.evictRejected).",
    ),
    "If the gateway uses ext_proc and allows mode overrides, leave the field as it is. Otherwise remove it: it has no effect.",
    "issuers:\n  - name: primary\n    tokenEndpoint: https://issuer.example.com/token\n    clientID: exchanger\n    clientSecret: s\n"
    "    cache: {maxTTL: 5m, maxEntries: 100, evictRejected: true}\n",
    Example.ISSUERS,
    Severity.NOTICE,
)
UNREQUESTED_AUDIENCE: Final = Code(
    "POL-5006",
    "An issuer profile accepts tokens for an audience that no policy requests.",
    ("issuedToken.audience lists an audience whose policy is gone.", "The audience is misspelt.", "Not all policies were checked."),
    "Remove the audience from issuedToken.audience, or use audience: requested, which follows the policies.",
    "The profile has issuedToken: {audience: [orders, payments]}, and all entries have audiences: [orders].",
    Example.SITUATION,
    Severity.WARNING,
)
SUBJECT_UNREADABLE: Final = Code(
    "POL-5007",
    "An issuer profile compares the subject of issued tokens with that of callers' tokens, which need not be JWTs.",
    ("issuedToken.subject is same or a claim, and subjectToken.issuers is missing.",),
    "List the issuers of callers' tokens in subjectToken.issuers: then only JWTs are exchanged. If callers' tokens are opaque, remove "
    "issuedToken.subject: every exchange of an opaque token fails with TXE-3008.",
    "The profile has issuedToken: {subject: same}, and no subjectToken.",
    Example.SITUATION,
    Severity.NOTICE,
)
OTHER_AUDIENCE: Final = Code(
    "POL-5008",
    "An exchange names audiences, but its issuer's profile has an assertion, which determines the audience.",
    ("The profile has assertion, and the entry has audiences. Only its scope and resources are requested.",),
    "Leave out audiences. Until then every request that the entry decides fails with TXE-1002.",
    "The profile has assertion: {from: idp}, and the entry has audiences: [orders].",
    Example.SITUATION,
)
CLIENT_OF_ID_TOKENS: Final = Code(
    "POL-5009",
    "The issuer of a profile's assertions accepts only ID tokens that were issued to one client.",
    (
        "The assertion is an ID-JAG. Identity providers issue one only for ID tokens of the client that asks for it.",
        "That is the client of the profile that assertion.from names.",
    ),
    "The owner of the profile acts, not the author of a policy. If callers present such ID tokens, leave the profile as it is. Otherwise "
    "every exchange fails with TXE-2007: let the application in front of the gateway sign users in as this client, or give the first "
    "profile the client of that application.",
    "issuers:\n  - name: idp\n    tokenEndpoint: https://acme.idp.example/token\n    clientID: gateway\n    clientSecret: s\n"
    "    subjectToken: {type: urn:ietf:params:oauth:token-type:id_token}\n  - name: chat\n    discovery: https://acme.chat.example/\n"
    "    clientID: f53f191f9311af35\n    clientSecret: s\n    grantType: jwt-bearer\n    assertion: {from: idp}\n",
    Example.ISSUERS,
    Severity.NOTICE,
)
UNLISTED_TYPE: Final = Code(
    "POL-5010",
    "A profile asks an issuer for a type of assertion that is not among those that the issuer lists in its metadata.",
    (
        "The identity provider issues no ID-JAGs, or the feature is off.",
        "assertion.requestedTokenType is misspelt, or of another draft: identity chaining asks for JWTs, cross-app access for ID-JAGs.",
    ),
    "Enable the feature at the issuer, or correct requestedTokenType. The issuer will probably refuse every exchange (TXE-2007).",
    "The metadata has identity_chaining_requested_token_types_supported: [urn:ietf:params:oauth:token-type:jwt], and the profile asks for "
    "an ID-JAG.",
    Example.SITUATION,
    Severity.WARNING,
)
UNFIT_FOR_GATEWAY: Final = Code(
    "POL-5011",
    "A profile asks for something that the gateway does not do.",
    (
        "exchanger check --gateway names a gateway that asks over HTTP, and which sees only answers of the service.",
        "subjectToken.from lists headers besides Authorization. NGINX and Caddy leave them in the request, with the caller's token.",
        "The profile has cache.evictRejected: true. Over HTTP, the service never learns that an upstream refused a token.",
    ),
    "Remove the headers in the gateway's configuration, in each place that passes requests on, or read tokens from Authorization only. "
    "Remove cache.evictRejected.",
    "The profile has subjectToken: {from: [{header: X-User-Token}]}, and exchanger check has --gateway nginx.",
    Example.SITUATION,
    Severity.WARNING,
)
SUBJECT_OPAQUE: Final = Code(
    "POL-5012",
    "An issuer profile accepts opaque tokens, and then rejects what is issued for them, because it compares subjects.",
    ("subjectToken.introspection lets opaque tokens pass, and issuedToken.subject is same or a claim, which only JWTs have.",),
    "Remove issuedToken.subject if callers' tokens are opaque, or subjectToken.introspection if they are JWTs. Until then every exchange "
    "of an opaque token fails with TXE-3008.",
    "The profile has subjectToken.introspection, and issuedToken: {subject: same}.",
    Example.SITUATION,
    Severity.WARNING,
)
