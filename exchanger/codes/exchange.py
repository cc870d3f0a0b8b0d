"""What the TXE codes of failed exchanges mean, one for each ``Diagnostic``."""

from typing import Final

from exchanger.codes.code import Code, Example
from exchanger.errors import Diagnostic


def _code(diagnostic: Diagnostic, sentence: str, causes: tuple[str, ...], remedy: str, example: str) -> Code:
    return Code(diagnostic.value, sentence, causes, remedy, example, Example.SITUATION)


CODES: Final = (
    _code(
        Diagnostic.INVALID_TOKEN_ENDPOINT,
        "The profile's token endpoint is not a usable URL.",
        ("The URL is relative, or has a user or a fragment.", "It begins with http, which has to be allowed."),
        "Correct tokenEndpoint: it must be absolute and use https.",
        "tokenEndpoint is issuer.example.com/token, without https://.",
    ),
    _code(
        Diagnostic.CREATE_REQUEST,
        "The request to the token endpoint could not be built. Nothing was sent.",
        (
            "The issuer's grant is entra-obo, which asks for a scope alone, and the policy names resources or audiences.",
            "The key of clientAssertion cannot sign.",
            "The policy or the profile has a text that no request can carry.",
        ),
        "Look at the detail in the log line, and correct the policy or the profile.",
        "The profile has grantType: entra-obo, and an entry asks for an audience.",
    ),
    _code(
        Diagnostic.REQUEST_FAILED,
        "The token endpoint gave no usable answer.",
        (
            "A timeout, a refused or broken connection, or a TLS failure.",
            "A redirect, which is never followed.",
            "A proxy that refuses the tunnel.",
        ),
        "Check that the endpoint or its proxy answers within the timeouts, and whether the proxy requires credentials. Configure the final "
        "address.",
        "The token endpoint is down.",
    ),
    _code(
        Diagnostic.READ_RESPONSE,
        "The body of the token endpoint's answer was cut off, or did not arrive in time.",
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
        "The issuer's breaker is open, so the token endpoint was not asked.",
        ("Too many requests to the endpoint failed or timed out, or it answered with 429 or 503.",),
        "Check the endpoint. The breaker closes once a probe succeeds.",
        "The token endpoint answers every request with 503.",
    ),
    _code(
        Diagnostic.OVERLOADED,
        "Too many requests wait for the issuer.",
        ("The endpoint is slow, or limits.maxInFlight of the profile is low.", "256 calls to the endpoint's host are under way."),
        "Check how long the endpoint takes, and raise the limit if it can take more.",
        "maxInFlight is 1, and a hundred different tokens are exchanged at once.",
    ),
    _code(
        Diagnostic.METADATA_UNKNOWN,
        "The issuer's metadata is not known yet, so nobody knows where its token endpoint is.",
        ("The issuer cannot be reached.", "Its metadata name another issuer than the profile's discovery, or no token endpoint."),
        "Check that discovery is the issuer exactly as its metadata have it, and that the service reaches it. It is asked again by itself.",
        "discovery is https://issuer.example.com/, and the metadata say https://issuer.example.com.",
    ),
    _code(
        Diagnostic.NO_ACTOR_TOKEN,
        "There is no token for the actor, so the exchange was not asked for.",
        ("The token endpoint refuses the client credentials grant to this client.", "It cannot be reached."),
        "Allow the client the client credentials grant with the scope of actorToken, or give a file.",
        "The client may exchange tokens, and may not use client credentials.",
    ),
    _code(
        Diagnostic.OAUTH_ERROR,
        "The token endpoint answered with an OAuth error.",
        (
            "invalid_target, invalid_scope: the policy requests what the server does not grant.",
            "invalid_grant, invalid_request: the caller's token.",
            "invalid_client, unauthorized_client: the service's credentials or rights.",
        ),
        "Look at the error in the log line, and correct the policy, the profile, or the configuration of the authorization server.",
        'The endpoint answers 400 with {"error": "invalid_scope"}.',
    ),
    _code(
        Diagnostic.UNRECOGNISED_400,
        "The token endpoint answered 400 without an error of RFC 6749 in the body.",
        (
            "The user has to sign in again or step up (interaction_required, insufficient_user_authentication).",
            "A proxy in front of the endpoint answered.",
            "The path is wrong.",
        ),
        "With one of these as oauth_error in the log line, set errors: strict in the profile, so that callers learn what they need. "
        "Otherwise check tokenEndpoint, and what answers there.",
        "A proxy answers 400 with an HTML page.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_401,
        "The token endpoint answered 401 without an error of RFC 6749 in the body.",
        (
            "The user has to sign in again or step up (interaction_required, insufficient_user_authentication).",
            "A proxy in front of the endpoint answered.",
            "The path is wrong.",
        ),
        "With one of these as oauth_error in the log line, set errors: strict in the profile, so that callers learn what they need. "
        "Otherwise check tokenEndpoint, and what answers there.",
        "A proxy wants credentials of its own, and answers 401.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_403,
        "The token endpoint answered 403 without an error of RFC 6749.",
        (
            "The caller needs more rights (insufficient_scope).",
            "A firewall or a proxy in front of the endpoint refused the request.",
        ),
        "With insufficient_scope as oauth_error in the log line, set errors: strict in the profile, so that callers learn what they need. "
        "Otherwise check tokenEndpoint, and what answers there.",
        "A web application firewall answers 403.",
    ),
    _code(
        Diagnostic.UNRECOGNISED_OTHER,
        "The token endpoint answered with an unexpected status, without an error of RFC 6749.",
        ("429 and 5xx are the endpoint's own problem.", "404 is usually a wrong path."),
        "Check the endpoint, and tokenEndpoint.",
        "The endpoint answers 500.",
    ),
    _code(
        Diagnostic.APP_ONLY_CALLER,
        "Entra ID does not exchange the token, since no user is behind it: nobody can act on behalf of an application.",
        ("The caller got its token with client credentials (AADSTS7000114).",),
        "Let the caller use a token of a user, or let an entry of its own pass such callers to an upstream that takes their tokens.",
        "A nightly job calls with its application's own token.",
    ),
    _code(
        Diagnostic.MALFORMED_JSON,
        "The token endpoint answered 200, but the body is not a JSON object.",
        ("The address is not that of a token endpoint.",),
        "Correct tokenEndpoint.",
        "tokenEndpoint is the address of a web page.",
    ),
    _code(
        Diagnostic.MISSING_ACCESS_TOKEN,
        "The token endpoint answered 200 without an access_token.",
        ("The server does not support the grant as it was sent.",),
        "Check that the server supports token exchange (RFC 8693).",
        "The endpoint answers 200 with {}.",
    ),
    _code(
        Diagnostic.NOT_BEARER,
        "The token endpoint issued a token that is not a bearer token.",
        ("The server binds tokens to a key (DPoP).",),
        "Let the server issue bearer tokens to this client.",
        'The endpoint answers with "token_type": "DPoP".',
    ),
    _code(
        Diagnostic.WRONG_ISSUED_TOKEN_TYPE,
        "The token endpoint issued a token of another type than expected.",
        ("The server issues JWTs or ID tokens instead of access tokens, or says nothing.",),
        "Change TOKEN_EXCHANGE_EXPECTED_ISSUED_TOKEN_TYPE, or the token type that the server issues.",
        'The endpoint answers with "issued_token_type": "urn:ietf:params:oauth:token-type:id_token".',
    ),
    _code(
        Diagnostic.UNUSABLE_ACCESS_TOKEN,
        "The access token cannot be used in a header.",
        ("It has a space, a comma, a double quote, a backslash or characters beyond visible ASCII.", "It is longer than 64 KiB."),
        "Let the server issue tokens of up to 64 KiB of visible ASCII, without comma, double quote and backslash.",
        "The access token has a line break in it.",
    ),
    _code(
        Diagnostic.SUBJECT_REFUSED,
        "The caller's token was refused before any exchange. The log line says why.",
        (
            "It has expired, is for another audience, or comes from an issuer that subjectToken does not list.",
            "Its signature fits none of the issuer's keys.",
            "It is bound to a key of the caller (cnf), or may be used by a certain actor alone (may_act).",
        ),
        "Compare the token's iss, aud and exp with subjectToken of the profile.",
        "The token was issued for another service, so its aud is not among the audiences.",
    ),
    _code(
        Diagnostic.KEYS_UNKNOWN,
        "The keys of the caller's issuer are not known, so nobody can tell whether the token is genuine.",
        (
            "The issuer's metadata or keys (jwksURI) cannot be fetched.",
            "The token is signed by a key that is not known yet, and the last attempt to fetch the keys failed.",
        ),
        "Check that the service reaches the issuer, and that its metadata name it exactly as subjectToken does.",
        "The issuer is down when the service starts.",
    ),
)
