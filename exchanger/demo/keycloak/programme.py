"""The demo's programme with a Keycloak: the realm is the only issuer, and its own tokens are exchanged.

Must not know: how the realm is asked.
"""

from pathlib import Path

from exchanger.demo.client import LOOPBACK
from exchanger.demo.faults import DemoError
from exchanger.demo.gateway import Gateway
from exchanger.demo.ground import Ground
from exchanger.demo.keycloak.realm import APP, POLICY_FILE, KeycloakAddress, issuer_profile, policy_text
from exchanger.demo.keycloak.tokens import RealmTokens
from exchanger.demo.programme import Programme
from exchanger.demo.scenarios import packaged_scenarios
from exchanger.demo.site import Site

SCENARIO_FILE = "scenarios-keycloak.yaml"
MAX_PASSWORD = 4_096  # bytes of the file with the administrator's password


def keycloak_programme(tokens: RealmTokens, address: KeycloakAddress) -> Programme:
    """Return the programme for the realm that ``tokens`` are of, in the Keycloak at ``address``."""
    realm = tokens.client.realm
    profile = issuer_profile(realm, address)

    def ground(site: Site) -> Ground:
        return Ground(gateway=Gateway(LOOPBACK, site.envoy_port), subjects=tokens.token, policy=site.policy, recognise=tokens.recognise)

    login = f"-d grant_type=password -d client_id={APP} -d username={realm.user} -d password={realm.password}"
    extract = """sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'"""
    return Programme(
        scenarios=packaged_scenarios(SCENARIO_FILE),
        policies={POLICY_FILE: policy_text()},
        profiles=(profile,),
        token=tokens.token,
        ground=ground,
        verify=tokens.verify,
        remark="the tokens are those of the realm, which lets them live for five minutes",
        renewal=f"TOKEN=$(curl -s {profile['tokenEndpoint']} {login} | {extract})",
    )


def read_password(file: Path) -> str:
    """Return the administrator's password in ``file``, without the end of its line.

    Raises:
        DemoError: it cannot be read, or holds none.
    """
    try:
        with file.open("rb") as opened:
            password = opened.read(MAX_PASSWORD).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"the administrator's password cannot be read: {_reason(error)}") from None
    if not password:
        raise DemoError("the file for the administrator's password is empty")
    return password


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "no reason given") if isinstance(error, OSError) else "it is not text"
