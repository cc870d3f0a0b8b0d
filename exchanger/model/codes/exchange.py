"""The TXE codes of failed exchanges, one for each ``Diagnostic``."""

from typing import Final

from exchanger.model.codes.code import Code, Example
from exchanger.model.errors import Diagnostic


def _code(diagnostic: Diagnostic, sentence: str, causes: tuple[str, ...], remedy: str, example: str) -> Code:
    return Code(diagnostic.value, sentence, causes, remedy, example, Example.SITUATION)


CODES: Final = (
    _code(
        Diagnostic.INVALID_TOKEN_ENDPOINT,
        "The profile's token endpoint is not a usable URL.",
        ("The URL is relative, or has a user or a fragment.", "It uses http, which has to be allowed."),
        "Correct tokenEndpoint: it must be absolute and use https.",
        "tokenEndpoint is issuer.example.com/token, without https://.",
    ),
    _code(
        Diagnostic.CREATE_REQUEST,
        "The request to the token endpoint could not be built. Nothing was sent.",
        (
            "The issuer's grant is entra-obo, which accepts only a scope, and the policy names resources or audiences.",
            "The issuer's profile has assertion, which determines the audience, and the policy names audiences.",
            "The clientAssertion key cannot sign.",
            "The policy or the profile contains text that cannot be sent in a request.",
        ),
        "The detail in the log line says which. Remove resources and audiences from the entry, or correct the profile.",
        "The profile has grantType: entra-obo, and an entry asks for an audience.",
    ),
    _code(
        Diagnostic.REQUEST_FAILED,
        "There was no usable response from the token endpoint.",
        (
            "A timeout, a refused or broken connection, or a TLS failure.",
            "A redirect, which is never followed.",
            "A proxy refused the tunnel.",
        ),
        "Check that the endpoint and its proxy respond within the timeouts, and whether the proxy requires credentials. Configure the "
        "final URL.",
        "The token endpoint is down.",
    ),
    _code(
        Diagnostic.READ_RESPONSE,
        "The token endpoint's response body was cut off, or did not arrive in time.",
        ("The endpoint, or a proxy in front of it, closed the connection.",),
        "Check the logs of the endpoint and of the proxies in front of it.",
        "The endpoint closes the connection after half of the body.",
    ),
    _code(
        Diagnostic.UNKNOWN_ISSUER,
        "The policy names an issuer that does not exist.",
        ("The profile was removed while policies still name it.",),
        "Add the profile, or correct issuerRef.",
        "issuerRef is backup, and the profiles have only primary.",
    ),
    _code(
        Diagnostic.BREAKER_OPEN,
        "The issuer's breaker is open, so the token endpoint was not called.",
        ("Too many requests to the endpoint failed or timed out, or it responded with 429 or 503.",),
        "Look for the codes of the failures before it in the log, and follow their remedies. The breaker closes once a probe succeeds.",
        "The token endpoint returns 503 for every request.",
    ),
    _code(
        Diagnostic.OVERLOADED,
        "Too many requests are waiting for the issuer.",
        (
            "The endpoint is slow, or limits.maxInFlight of the profile is low.",
            "256 calls to the endpoint's host are in progress.",
            "An exchange was queued for at least half of its time, and not sent in the rest.",
        ),
        "Check the endpoint's latency, and raise the limit if it can handle more.",
        "maxInFlight is 1, and a hundred different tokens are exchanged at once.",
    ),
    _code(
        Diagnostic.METADATA_UNKNOWN,
        "The issuer's metadata has not been fetched yet, so its token endpoint is unknown.",
        ("The issuer cannot be reached.", "The metadata names another issuer than the profile's discovery, or no token endpoint."),
        "Check that discovery is exactly the issuer in the metadata, and that the service can reach it. Discovery is retried "
        "automatically.",
        "discovery is https://issuer.example.com/, and the metadata says https://issuer.example.com.",
    ),
    _code(
        Diagnostic.NO_ACTOR_TOKEN,
        "The service has no actor token, so it did not request the exchange.",
        ("The token endpoint does not allow this client the client credentials grant.", "The token endpoint cannot be reached."),
        "Allow the client the client credentials grant with actorToken's scope, or configure a token file.",
        "The client may exchange tokens, but not use client credentials.",
    ),
    _code(
        Diagnostic.OAUTH_ERROR,
        "The token endpoint returned an OAuth error.",
        (
            "invalid_target, invalid_scope: the policy requests what the server does not grant.",
            "invalid_grant, invalid_request: the caller's token.",
            "invalid_client, unauthorized_client: the service's credentials or rights.",
        ),
        "See oauth_error in the log line. For a target or scope, correct the entry, or grant it to the client at the server. For the "
        "client, correct the profile's credentials. For the token, the caller gets a new one.",
        'The endpoint returns 400 with {"error": "invalid_scope"}.',
    ),
    _code(
        Diagnostic.UNRECOGNISED_400,
        "The token endpoint returned 400 without an RFC 6749 error in the body.",
        (
            "The user has to sign in again or step up (interaction_required, insufficient_user_authentication).",
            "A proxy in front of the endpoint responded.",
            "tokenEndpoint has the wrong path.",
        ),
        "If oauth_error in the log line is interaction_required or insufficient_user_authentication, set errors: strict in the profile. "
        "Callers then receive the challenge. Otherwise check tokenEndpoint, and which server responds there.",
        "A proxy returns 400 with an HTML page.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_401,
        "The token endpoint returned 401 without an RFC 6749 error in the body.",
        (
            "The user has to sign in again or step up (interaction_required, insufficient_user_authentication).",
            "A proxy in front of the endpoint responded.",
            "tokenEndpoint has the wrong path.",
        ),
        "If oauth_error in the log line is interaction_required or insufficient_user_authentication, set errors: strict in the profile. "
        "Callers then receive the challenge. Otherwise check tokenEndpoint, and which server responds there.",
        "A proxy requires its own credentials, and returns 401.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_403,
        "The token endpoint returned 403 without an RFC 6749 error.",
        (
            "The caller needs more rights (insufficient_scope).",
            "A firewall or a proxy in front of the endpoint refused the request.",
        ),
        "If oauth_error in the log line is insufficient_scope, set errors: strict in the profile. Callers then receive "
        "the challenge. Otherwise check tokenEndpoint, and which server responds there.",
        "A web application firewall returns 403.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_OTHER,
        "The token endpoint returned an unexpected status without an RFC 6749 error.",
        ("429 and 5xx are the endpoint's own problem.", "404 is usually a wrong path."),
        "For 404 and 405, correct tokenEndpoint. For 429 and 5xx, look into the logs of the endpoint.",
        "The endpoint returns 500.",
    ),
    _code(
        Diagnostic.APP_ONLY_CALLER,
        "Entra ID does not exchange the token, because it belongs to an application: on-behalf-of works only for users.",
        ("The caller got its token with client credentials (AADSTS7000114).",),
        "Call with a user's token, or add an entry that passes such callers to an upstream that accepts their tokens.",
        "A nightly job calls with its application's own token.",
    ),
    _code(
        Diagnostic.ASSERTION_REFUSED,
        "The first issuer of a chain refused to issue an assertion for the second one. The second one got no request.",
        (
            "invalid_grant, invalid_request: the caller's token. Identity providers accept only ID tokens of the client in its profile.",
            "access_denied, unauthorized_client, invalid_target: the user or the client may not use the second issuer's applications.",
            "insufficient_user_authentication: the user has to sign in again or step up. errors: strict shows callers the challenge.",
        ),
        "See the error in the log line: leg names the profile. Correct the subject token's type or client, or the access policy of the "
        "identity provider.",
        "The caller presents an access token, and the identity provider issues ID-JAGs only for ID tokens.",
    ),
    _code(
        Diagnostic.MALFORMED_JSON,
        "The token endpoint returned 200, but the body is not a JSON object.",
        ("The URL is not a token endpoint.",),
        "Write the token_endpoint of the issuer's metadata into tokenEndpoint, or configure discovery instead.",
        "tokenEndpoint is the URL of a web page.",
    ),
    _code(
        Diagnostic.MISSING_ACCESS_TOKEN,
        "The token endpoint returned 200 without an access_token.",
        ("The server does not support the grant as sent.",),
        "Enable token exchange (RFC 8693) for the client at the server, or set grantType to a grant that it supports.",
        "The endpoint returns 200 with {}.",
    ),
    _code(
        Diagnostic.NOT_BEARER,
        "The token endpoint issued a token that is not a bearer token.",
        ("The server binds tokens to a key (DPoP).",),
        "Configure the server to issue bearer tokens to this client.",
        'The endpoint returns "token_type": "DPoP".',
    ),
    _code(
        Diagnostic.WRONG_ISSUED_TOKEN_TYPE,
        "The token endpoint issued a token of an unexpected type.",
        ("The server issues JWTs or ID tokens instead of access tokens, or does not say what it issues.",),
        "Change requestedTokenType of the issuer's profile, or without one TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE, or the type "
        "of token that the server issues.",
        'The endpoint returns "issued_token_type": "urn:ietf:params:oauth:token-type:id_token".',
    ),
    _code(
        Diagnostic.UNUSABLE_ACCESS_TOKEN,
        "The access token cannot be used in a header.",
        ("It contains a space, comma, double quote, backslash or characters beyond visible ASCII.", "It is longer than 64 KiB."),
        "Configure the server to issue tokens of at most 64 KiB of visible ASCII, without comma, double quote or backslash.",
        "The access token contains a line break.",
    ),
    _code(
        Diagnostic.ISSUED_FOR_OTHERS,
        "The issuer returned a token for a different subject or target than was requested. The service neither cached nor forwarded it.",
        (
            "The issuer ignores the requested audience, or adds audiences of its own.",
            "The token is about another subject than the caller's, or from another issuer than the profile's issuedToken says.",
            "The token names another actor (act) than the request, or none where issuedToken.actor is same.",
            "The token is bound to a key or certificate (cnf), which no caller can prove for it.",
            "An assertion is of another type (typ), or for another client (client_id) than that of the second issuer's profile.",
            "The second issuer of a chain returned the assertion as its token.",
        ),
        "Compare the requested_ and issued_ fields in the log line, and correct the issuer's configuration, or issuedToken.",
        "The policy asks for the audience orders, and the token has aud: [orders, payments].",
    ),
    _code(
        Diagnostic.ISSUED_BEYOND_REQUEST,
        "The issuer returned a token that grants more than was requested, or for longer. The service neither cached nor forwarded it.",
        (
            "The issuer adds default scopes.",
            "The issuer's tokens are valid for longer than maxLifetime, or do not expire.",
        ),
        "Have the issuer grant less, list the scopes in issuedToken.scopeAlso, or raise maxLifetime.",
        "The policy asks for the scope read, and the token has read and admin.",
    ),
    _code(
        Diagnostic.ISSUED_UNVERIFIED,
        "The issuer's token cannot be compared with the request. The service neither cached nor forwarded it.",
        (
            "It is not a JWT, or two readers could read it differently.",
            "The policy asks for no audience and no resource, and issuedToken.audience is requested.",
            "subject: same, and the caller's token is not a JWT.",
            "With signature: true, the issuer's keys are not available, or none of them verifies the signature.",
            "It is not signed: its header says alg: none, or no algorithm.",
            "It has expired (exp), or is not valid yet (nbf). The clock of the issuer or of the service may be wrong.",
            "An assertion does not say when it expires (exp).",
        ),
        "See the detail in the log line, and correct the policy, the profile, or the issuer's configuration.",
        "The issuer's access tokens are opaque, and the profile has issuedToken without opaque: pass.",
    ),
    _code(
        Diagnostic.SUBJECT_REJECTED,
        "The caller's token was rejected before any exchange. The log line says why.",
        (
            "It has expired, is for another audience, or comes from an issuer that subjectToken does not list.",
            "None of the issuer's keys verifies its signature.",
            "It is bound to a key of the caller (cnf), or only a certain actor may use it (may_act).",
        ),
        "Compare the token's iss, aud and exp with the profile's subjectToken. The caller gets a new token, or the owner of the profile "
        "adds the issuer or audience.",
        "The token was issued for another service, so its aud is not among the audiences.",
    ),
    _code(
        Diagnostic.KEYS_UNKNOWN,
        "The keys of the caller's issuer are not known, so the token cannot be verified.",
        (
            "The issuer's metadata or keys (jwksURI) cannot be fetched.",
            "The token is signed by a key that is not known yet, and the last attempt to fetch the keys failed.",
        ),
        "Check that the service can reach the issuer, and that its metadata names it exactly as subjectToken does.",
        "The issuer is down when the service starts.",
    ),
    _code(
        Diagnostic.SUBJECT_INACTIVE,
        "Introspection of the caller's token did not accept it. The log line says why.",
        (
            "It was revoked, has expired, or its session has ended.",
            "It is for another audience than subjectToken lists, or from another issuer.",
            "It is not a bearer token, or bound to a key of the caller (cnf).",
            "The issuer shows tokens only to clients in their audience, and calls all others inactive.",
        ),
        "Sign in again. If every token is rejected, introspect one with the profile's client by hand, and compare the response.",
        "The user has signed out.",
    ),
    _code(
        Diagnostic.INTROSPECTION_UNAVAILABLE,
        "Introspection of the caller's token failed, so no exchange was requested.",
        (
            "The introspection endpoint is unreachable, slow, or refuses the profile's client.",
            "Introspection requests use half of the issuer's maxInFlight, or its breaker is open.",
            "The response is not a JSON object with unique names, is signed (RFC 9701), or has more than 256 KiB.",
            "The metadata of discovery names no introspection_endpoint.",
        ),
        "See the detail in the log line. Give subjectToken.introspection.endpoint, or correct the client's rights at the issuer.",
        "The issuer is being restarted.",
    ),
    _code(
        Diagnostic.AUDIT_UNAVAILABLE,
        "The audit log cannot be written, and AUDIT_REQUIRED is on, so no exchanged token is forwarded.",
        (
            "The disk or the volume of AUDIT_LOG is full, or its folder is missing or not writable.",
            "The reader of standard output, or of the pipe, has stopped.",
            "The disk is too slow for the time that the gateway allows.",
        ),
        "See the line audit.unwritable in the service's log. Make room, or restore the reader: exchanges resume within a second.",
        "The volume of the audit log is full.",
    ),
)
