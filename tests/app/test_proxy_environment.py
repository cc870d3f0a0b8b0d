from pathlib import Path

import pytest

from exchanger.app.settings import Settings, read_settings
from exchanger.model.errors import ConfigurationError
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.net.proxies import EnvironmentProxies, NoProxy

SWITCH = "TOKEN_ENDPOINT_PROXY_FROM_ENVIRONMENT"
URL = "http://canary-user:canary-password@proxy.example.com:3128"
PROXY = Proxy(False, "proxy.example.com", 3128, Secret("canary-user:canary-password"))
HTTP = "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT"


def read(folder: Path, **variables: str) -> Settings:
    found = read_settings({"POLICY_SOURCE": "directory", "POLICY_DIRECTORY": str(folder), **variables})
    assert "canary" not in repr(found)
    return found


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"])
def test_unused_proxy_variables_are_reported(tmp_path: Path, name: str) -> None:
    settings = read(tmp_path, **{name: URL})
    ((variable, text),) = settings.without_effect
    assert variable == name
    assert settings.token_client.proxies == EnvironmentProxies()
    assert (SWITCH if "ALL" not in name.upper() else "HTTPS_PROXY") in text
    assert "canary" not in text


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_the_proxy_of_http_matters_where_there_may_be_http_endpoints(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, **{name: URL}).without_effect == ()
    ((variable, _),) = read(tmp_path, **{name: URL, HTTP: "true"}).without_effect
    assert variable == name
    used = read(tmp_path, **{name: URL, HTTP: "true", SWITCH: "true"})
    assert (used.token_client.proxies, used.without_effect) == (EnvironmentProxies(http=PROXY), ())


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_with_the_switch_they_are_used(tmp_path: Path, name: str) -> None:
    settings = read(tmp_path, **{name: f" {URL} ", "no_proxy": ".svc,10.0.0.0/8", SWITCH: "yes"})
    assert settings.token_client.proxies == EnvironmentProxies(https=PROXY, no_proxy=NoProxy.of(".svc,10.0.0.0/8"))
    assert settings.without_effect == ()


def test_a_bare_host_and_port_is_a_proxy(tmp_path: Path) -> None:
    proxies = read(tmp_path, HTTPS_PROXY="proxy.example.com:3128", **{SWITCH: "true"}).token_client.proxies
    assert proxies == EnvironmentProxies(https=Proxy(False, "proxy.example.com", 3128))


def test_capitals_come_first_and_another_text_in_small_letters_is_told(tmp_path: Path) -> None:
    same = read(tmp_path, HTTPS_PROXY=URL, https_proxy=URL, **{SWITCH: "true"})
    assert same.without_effect == ()
    other = read(tmp_path, HTTPS_PROXY=URL, https_proxy="http://canary-other:1", NO_PROXY="a", no_proxy="b", **{SWITCH: "true"})
    assert other.token_client.proxies == EnvironmentProxies(https=PROXY, no_proxy=NoProxy.of("a"))
    assert [name for name, _ in other.without_effect] == ["https_proxy", "no_proxy"]
    blank = read(tmp_path, HTTPS_PROXY=" ", https_proxy=URL, **{SWITCH: "true"})
    assert (blank.token_client.proxies.https, blank.without_effect) == (PROXY, ())


def test_a_switch_for_nothing_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, **{SWITCH: "true"}).without_effect == ((SWITCH, "HTTPS_PROXY is not set"),)
    found = read(tmp_path, HTTPS_PROXY="", NO_PROXY="a", ALL_PROXY=URL, **{SWITCH: "true", HTTP: "true"})
    assert [name for name, _ in found.without_effect] == [SWITCH, "NO_PROXY", "ALL_PROXY"]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize("url", ["socks5://canary:1080", "http://canary:99999", "canary canary", "http://canary/canary"])
def test_an_unusable_proxy_url_prevents_the_start_and_is_not_quoted(tmp_path: Path, name: str, url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, **{name: url, SWITCH: "true", HTTP: "true"})
    (problem,) = raised.value.problems
    assert problem.startswith(f"{name} ")
    assert "canary" not in problem
    assert read(tmp_path, **{name: url, HTTP: "true"}).token_client.proxies == EnvironmentProxies()
