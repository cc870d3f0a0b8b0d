"""What cannot be meant is refused while the chart is rendered, with a sentence that says what to do; what looks odd but works is not."""

from typing import Any

import pytest

from exchanger.values.selector import parse_selector
from tests.helm.cases import CONSOLE, MTLS, PEERS, PROFILE, SCALED, TLS
from tests.helm.chart import refusal, render

pytestmark = [pytest.mark.helm]


def profile(**fields: Any) -> dict[str, Any]:
    return {"issuerProfiles": {"profiles": [{**PROFILE, **fields}]}}


REF = {"name": "s", "key": "k"}

SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "a variable that the chart wires": (
        {"env": {"POLICY_NAMESPACES": "a"}},
        "POLICY_NAMESPACES is not for you to set: use policyNamespaces",
    ),
    "the same in the form of a list": ({"env": [{"name": "POD_NAMESPACE", "value": "a"}]}, "POD_NAMESPACE is not for you to set"),
    "a port without TLS switched off": ({"env": {"GRPC_PLAINTEXT_ENABLED": "false"}}, "use tls.only"),
    "a variable twice": ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "A is there twice"),
    "a list of endpoints that nobody reads": ({"env": {"TOKEN_ENDPOINT_ALLOWLIST": "a.example"}}, "TOKEN_ENDPOINT_ALLOWLIST has no effect"),
    "credentials by variable": (
        {"env": {"OAUTH_CLIENT_SECRET": {"valueFrom": {"secretKeyRef": REF}}}},
        "OAUTH_CLIENT_SECRET has no effect: credentials belong to issuer profiles",
    ),
    "a port that only the pod would know": ({"env": {"METRICS_PORT": {"valueFrom": {"secretKeyRef": REF}}}}, "cannot come from valueFrom"),
    "a port that is none": ({"env": {"GRPC_PORT": "grpc"}}, "GRPC_PORT has to be a port"),
    "a port that is too high": ({"env": {"METRICS_PORT": "65536"}}, "METRICS_PORT has to be a port"),
    "credentials of the collector as a text": (
        {"env": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=hush"}},
        "OTEL_EXPORTER_OTLP_HEADERS holds the collector's credentials",
    ),
    "credentials for traces in the form of a list": (
        {"env": [{"name": "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "value": "authorization=hush"}]},
        "give it a valueFrom",
    ),
    "credentials for metrics": ({"env": {"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "a=hush"}}, "give it a valueFrom"),
    "two listeners on a port": ({"env": {"GRPC_PORT": "3002"}}, "two listeners on one port"),
    "the console on metrics' port": ({"console": {"enabled": True, "port": 3002}}, "two listeners on one port (3001, 3002, 3002)"),
    "the console on the port that env gives to checks": ({**CONSOLE, "env": {"GRPC_PORT": "3003"}}, "two listeners on one port"),
    "the console's address": ({"env": {"CONSOLE_ADDRESS": ":3003"}}, "CONSOLE_ADDRESS is not for you to set: use console"),
    "the console's token": (
        {**CONSOLE, "env": {"CONSOLE_TOKEN_FILE": "/token"}},
        "CONSOLE_TOKEN_FILE is not for you to set: use console.token",
    ),
    "two ports of the Service alike": ({**TLS, "service": {"ports": {"grpc-api": {"port": 3000}}}}, "two ports with the same number"),
    "no image": (
        {"image": {"repository": ""}},
        "image.repository is empty: set it to your image, such as --set image.repository=registry.example.com/exchanger, or install",
    ),
    "the Go service's image": (
        {"image": {"repository": "registry.example/edge/ext-authz-token-exchange"}},
        "is the image of the Go service",
    ),
    "a ServiceAccount that is there": ({"serviceAccountName": "default"}, "default is there in every namespace"),
    "the same in the other place": ({"rbac": {"serviceAccountName": "default"}}, "default is there in every namespace"),
    "two ServiceAccounts": ({"serviceAccountName": "a", "rbac": {"serviceAccountName": "b"}}, "differ: give one of them"),
    "a profile twice": ({"issuerProfiles": {"profiles": [PROFILE, PROFILE]}}, "primary is there twice"),
    "a profile twice, in both lists": ({"issuerProfiles": {"profiles": [PROFILE], "extraProfiles": [PROFILE]}}, "primary is there twice"),
    "extra profiles beside those that somebody else keeps": (
        {"issuerProfiles": {"existingConfigMap": "kept", "extraProfiles": [PROFILE]}},
        "exclude each other",
    ),
    "an ID and a reference to one": (profile(clientID="a", clientIDSecretRef=REF), "clientID and clientIDSecretRef"),
    "a secret and a reference to one": (profile(clientSecret="a", clientSecretSecretRef=REF), "clientSecret and clientSecretSecretRef"),
    "a profile without credentials, and none that all have": (
        {**profile(), "oauth": {"existingSecret": {"name": ""}}},
        "primary has no credentials of its own, or not both, and oauth.existingSecret.name is empty",
    ),
    "a profile without a secret, and none that all have": (
        {**profile(clientIDSecretRef=REF), "oauth": {"existingSecret": {"name": None}}},
        "primary has no credentials of its own, or not both",
    ),
    "an endpoint without TLS": (profile(tokenEndpoint="http://a.example/t"), "the tokenEndpoint of primary is not https"),
    "an endpoint that is nowhere": (profile(tokenEndpoint="https://"), "the tokenEndpoint of primary has no usable host and port"),
    "an endpoint without an end": (profile(tokenEndpoint="https://[2001:db8::1/t"), "has no usable host and port"),
    "an endpoint on no port": (profile(tokenEndpoint="https://a.example:0/t"), "the tokenEndpoint of primary has a port that is none"),
    "an endpoint on a port that is too high": (profile(tokenEndpoint="https://a.example:99999/t"), "has a port that is none"),
    "an endpoint with a fragment": (profile(tokenEndpoint="https://a.example/t#f"), "must not have a fragment"),
    "two volumes at one place": ({**TLS, "issuerProfiles": {"mountPath": "/etc/exchanger/tls/"}}, "two volumes at /etc/exchanger/tls;"),
    "two volumes at one place, one of them extra": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/ext-authz-token-exchange"}]},
        "two volumes at /etc/ext-authz-token-exchange;",
    ),
    "a volume over the whole system": ({"issuerProfiles": {"mountPath": "//"}}, "a volume at / would hide what is there"),
    "a volume over the system's settings": (
        {"issuerProfiles": {"mountPath": "/etc/"}},
        "issuerProfiles.mountPath: a volume at /etc would hide what is there",
    ),
    "a volume over the program": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/opt/exchanger"}]},
        "extraVolumeMounts: a volume at /opt/exchanger would lie over the system's own files",
    ),
    "a volume within the system's libraries": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/usr/lib/python"}]},
        "a volume at /usr/lib/python would lie over the system's own files",
    ),
    "a volume over the processes": ({"issuerProfiles": {"mountPath": "//proc/self"}}, "a volume at /proc/self would lie over"),
    "a volume over the ServiceAccount's token": (
        {"issuerProfiles": {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}},
        "serviceaccount would lie over the system's own files",
    ),
    "the same by its other name": (
        {"issuerProfiles": {"mountPath": "/run/secrets/kubernetes.io"}},
        "would lie over the system's own files",
    ),
    "a volume in a folder that is another one": ({"issuerProfiles": {"mountPath": "/profiles/../etc"}}, "/profiles/../etc has .. in it"),
    "a volume somewhere": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "ca"}]},
        'extraVolumeMounts: "ca" does not begin with a slash',
    ),
    "a selector of ConfigMaps that is none": (
        {"policy": {"configMapSelector": "enabled: true"}},
        'policy.configMapSelector: "enabled: true" is no label selector; write requirements such as key=value',
    ),
    "a selector of Namespaces that is none": ({"policy": {"namespaceSelector": "policy = a b"}}, "policy.namespaceSelector: "),
    "a selector that is none, by variable": (
        {"env": {"CONFIGMAP_LABEL_SELECTOR": "a in b"}},
        'CONFIGMAP_LABEL_SELECTOR: "a in b" is no label selector',
    ),
    "a role that Kubernetes brings": (
        {"rbac": {"clusterRoleName": "cluster-admin"}},
        "rbac.clusterRoleName: cluster-admin is a role that Kubernetes brings, and the release would overwrite it",
    ),
    "another one": ({"rbac": {"clusterRoleName": "view"}}, "view is a role that Kubernetes brings"),
    "one of its own parts": (
        {"rbac": {"clusterRoleName": "system:auth-delegator"}},
        "system:auth-delegator is a role that Kubernetes brings",
    ),
    "a binding that Kubernetes brings": (
        {"rbac": {"clusterRoleBindingName": "cluster-admin"}},
        "cluster-admin is a binding that Kubernetes brings",
    ),
    "a binding of its own parts": (
        {"rbac": {"clusterRoleBindingName": "system:basic-user"}},
        "names that begin with system: are Kubernetes' own",
    ),
    "a node's port of a Service that has none": (
        {"service": {"ports": {"grpc-api": {"nodePort": 30001}}}},
        "service.ports.grpc-api.nodePort needs service.type=NodePort or LoadBalancer",
    ),
    "two families of addresses, without a policy": (
        {"service": {"ipFamilies": ["IPv4", "IPv6"]}},
        "two families need service.ipFamilyPolicy",
    ),
    "two families of addresses, with that of one": (
        {"service": {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"}},
        "two families need service.ipFamilyPolicy",
    ),
    "profiles beside a ConfigMap": (
        {"issuerProfiles": {"existingConfigMap": "a", "profiles": [PROFILE]}},
        "existingConfigMap and issuerProfiles.profiles exclude each other",
    ),
    "a name for what is not rendered": ({"issuerProfiles": {"existingConfigMap": "a", "configMapName": "b"}}, "it renders none"),
    "a Secret of nothing": ({"oauth": {"createSecret": True}}, "oauth.createSecret needs oauth.clientID and oauth.clientSecret"),
    "one key for both": ({"oauth": {"existingSecret": {"clientIDKey": "a", "clientSecretKey": "a"}}}, "are the same"),
    "TLS only, without TLS": ({"tls": {"only": True}}, "need tls.secretName"),
    "client certificates without TLS": ({"tls": {"clientCA": {"secretName": "a"}}}, "need tls.secretName"),
    "a test that could not connect": ({"tls": {**MTLS["tls"], "only": True}}, "the test has no certificate to show"),
    "a probe with two handlers": (
        {"readinessProbe": {"grpc": {"port": 3001}, "tcpSocket": {"port": 3001}}},
        "readinessProbe has more than one handler",
    ),
    "too little time to end": ({"terminationGracePeriodSeconds": 29}, "is 29, and shutdown needs 30 seconds"),
    "too little time for what env says": (
        {"terminationGracePeriodSeconds": 30, "env": {"SHUTDOWN_GRACE_PERIOD": "1m"}},
        "shutdown needs 65 seconds",
    ),
    "a rollout that cannot move": ({"strategy": {"rollingUpdate": {"maxSurge": 0}}}, "no pod could ever be replaced"),
    "a budget of nothing": ({"podDisruptionBudget": {"maxUnavailable": 0}}, "no node with a pod could ever be drained"),
    "a budget that needs all": ({"replicaCount": 2, "podDisruptionBudget": {"minAvailable": 2}}, "minAvailable is 2 of 2 pods"),
    "a budget that needs all, in percent": ({"podDisruptionBudget": {"minAvailable": "100%"}}, "minAvailable is 100% of 2 pods"),
    "a budget that needs all, rounded up": ({"podDisruptionBudget": {"minAvailable": "51%"}}, "minAvailable is 51% of 2 pods"),
    "a budget that needs the least that scaling leaves": (
        {"autoscaling": {"enabled": True, "minReplicas": 3}, "podDisruptionBudget": {"minAvailable": "67%"}},
        "minAvailable is 67% of 3 pods",
    ),
    "more at least than at most": ({"autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}, "minReplicas is more than"),
    "scaling by nothing": ({"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}}, "autoscaling needs"),
    "scaling by what is not requested": ({**SCALED, "resources": {"requests": {"cpu": None}}}, "needs resources.requests.cpu"),
    "two monitors": ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "everything would be counted twice"),
    "a monitor of nothing": ({"podMonitor": {"enabled": True}, "metrics": {"enabled": False}}, "need metrics.enabled"),
    "a monitor of what env switches off": ({"serviceMonitor": {"enabled": True}, "env": {"METRICS_ENABLED": "no"}}, "need metrics.enabled"),
    "alerts about what nobody can scrape": (
        {"prometheusRule": {"enabled": True}, "metrics": {"enabled": False}},
        "ExchangerAbsent would fire for ever",
    ),
    "a collector that is nowhere": ({"otel": {"tracesExporter": "otlp"}}, "traces are exported and there is no otel.endpoint"),
    "the same in a list": ({"env": {"OTEL_METRICS_EXPORTER": "prometheus, OTLP"}}, "metrics are exported and there is no otel.endpoint"),
    "a collector without a scheme": (
        {"env": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318"}},
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has to begin with http:// or https://",
    ),
    "a collector that is nowhere, by address": ({"otel": {"endpoint": "http://:4318"}}, "OTEL_EXPORTER_OTLP_ENDPOINT has no usable host"),
    "a collector on no port": ({"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:otlp"}}, "has no usable host and port"),
    "a collector that variables tell of": (
        {"env": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "$(COLLECTOR)"}},
        "networkPolicy.egress.collector: the collector's address refers to other variables",
    ),
    "a collector whose port variables tell of": (
        {"env": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://$(HOST):$(PORT)"}},
        "networkPolicy.egress.collector: the collector's address refers to other variables",
    ),
    "a collector whose namespace variables tell of": (
        {"otel": {"metricsExporter": "otlp", "endpoint": "http://collector.$(NAMESPACE).svc:4318"}},
        "networkPolicy.egress.collector: the collector's address refers to other variables",
    ),
    "a probe of the port with TLS": (
        {"tls": {"secretName": "tls"}, "livenessProbe": {"grpc": {"port": 3000}}},
        "livenessProbe asks port 3000 by gRPC without TLS, which is not spoken there: leave grpc.port out, or give 3001",
    ),
    "a probe of another listener": ({"readinessProbe": {"grpc": {"port": 3002}}}, "readinessProbe asks port 3002 by gRPC"),
    "another severity for all alerts": (
        {"prometheusRule": {"enabled": True, "alertLabels": {"severity": "page"}}},
        "severity is each alert's own",
    ),
    "the same by env": ({"env": {"OTEL_METRICS_EXPORTER": "otlp"}}, "metrics are exported and there is no otel.endpoint"),
    "a label that selects": ({"podLabels": {"app.kubernetes.io/name": "a"}}, "selects the pods and cannot be changed"),
}

NONSENSE: tuple[dict[str, Any], ...] = (
    {"replicas": 3},
    {"image": {"digest": "latest"}},
    {"image": {"registry": "https://registry.example"}},
    {"global": {"imageRegistry": "registry example"}},
    {"image": {"pullPolicy": "Sometimes"}},
    {"replicaCount": -1},
    {"replicaCount": "3"},
    {"ports": {"grpc-authz": {"containerPort": 65536}}},
    {"ports": {"grpc-authz": {"containerPort": None}}},
    {"console": {"enabled": "true"}},
    {"console": {"port": 0}},
    {"console": {"address": "0.0.0.0:3003"}},
    {"console": {"token": {"secretName": "Not A Name"}}},
    {"console": {"token": {"key": ""}}},
    {"console": {"token": {"value": "hush"}}},  # a token does not belong into values
    {"tokenExchange": {"httpClient": {"requestTimeout": "750"}}},
    {"tokenExchange": {"httpClient": {"requestTimeout": 1}}},
    {"shutdown": {"gracePeriod": "0"}},
    {"log": {"level": "verbose"}},
    {"policyNamespaces": ["a", "a"]},
    {"policyNamespaces": ["Team_A"]},
    {"issuerProfiles": {"profiles": [{"name": "a"}]}},
    {"issuerProfiles": {"profiles": [{**PROFILE, "realm": "a"}]}},
    {"issuerProfiles": {"profiles": [{**PROFILE, "clientIDSecretRef": {"name": "a"}}]}},
    {"issuerProfiles": {"mountPath": "profiles"}},
    {"issuerProfiles": {"mountPath": "/"}},
    {"issuerProfiles": {"fileName": ".."}},
    {"metrics": {"path": "/metrics?all"}},
    {"env": {"A B": "c"}},
    {"env": {"A": {"enabled": True}}},
    {"env": {"A": {"enabled": "false", "value": "b"}}},
    {"env": {"A": {"enabled": True, "value": "b", "valueFrom": {}}}},
    {"env": [{"name": "A", "value": "b", "valueFrom": {}}]},
    {"podLabels": {"a": "not a label"}},
    {"networkPolicy": {"ingress": {"gateways": [{"namespaces": "all"}]}}},
    # A selector of nothing selects everything, and Kubernetes drops fields that it does not know.
    {"networkPolicy": {"ingress": {"gateways": [{"namespaceSelector": {"matchLabel": {"team": "gw"}}}]}}},
    {"networkPolicy": {"ingress": {"gateways": [{"namespaceSelector": None, "podSelector": {}}]}}},
    {"networkPolicy": {"ingress": {"monitoring": [{"podSelector": {"matchExpression": []}}]}}},
    {
        "networkPolicy": {
            "ingress": {"gateways": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]}}]}
        }
    },
    {"networkPolicy": {"egress": {"tokenEndpoints": [{"to": [{"namespaceSelector": {"labels": {"a": "b"}}}]}]}}},
    {"networkPolicy": {"egress": {"apiServer": {"to": [{"podSelector": {"matchLabels": {"a": 1}}}]}}}},
    {"networkPolicy": {"extraIngress": [{"form": PEERS}]}},
    {"networkPolicy": {"extraIngress": [{"from": []}]}},
    {"networkPolicy": {"extraIngress": [{"from": PEERS, "port": [{"port": 1}]}]}},
    {"networkPolicy": {"extraEgress": [{"to": PEERS, "ports": [{"number": 1}]}]}},
    {"networkPolicy": {"egress": {"apiServer": {"ports": []}}}},
    {"networkPolicy": {"egress": {"dnsPorts": []}}},
    {"networkPolicy": {"egress": {"tokenEndpoints": [{"to": []}]}}},  # a rule of nothing would open everything
    {"networkPolicy": {"egress": {"collector": [{"to": [], "ports": []}]}}},
    {"networkPolicy": {"egress": {"dnsPorts": None}}},  # a rule without ports would open them all
    {"networkPolicy": {"egress": {"apiServer": {"ports": None}}}},
    {"clusterDomain": None},
    {"podSecurityContext": None},  # Helm takes the default away, and with it what hardens the pod
    {"podSecurityContext": {"runAsNonRoot": None}},
    {"podSecurityContext": {"seccompProfile": None}},
    {"podSecurityContext": {"seccompProfile": {"type": None}}},
    {"podSecurityContext": {"seccompProfile": {"type": "Default"}}},
    {"securityContext": None},
    {"securityContext": {"allowPrivilegeEscalation": None}},
    {"securityContext": {"readOnlyRootFilesystem": None}},
    {"securityContext": {"capabilities": None}},
    {"securityContext": {"capabilities": {"drop": None}}},
    {"serviceMonitor": {"interval": "often"}},
    {"service": {"ports": {"grpc-api": {"targetPort": "other"}}}},
    {"service": {"ports": {"grpc-api": {"appProtocol": "h2c: yes"}}}},
    {"clusterDomain": "cluster.local:"},
    {"clusterDomain": ""},
    {"livenessProbe": {"path": "/"}},
    {"rbac": {"secrets": [{"name": ""}]}},
)


@pytest.mark.parametrize("case", SENTENCES)
def test_what_cannot_be_meant_is_refused_with_a_sentence(case: str) -> None:
    values, sentence = SENTENCES[case]
    assert sentence in refusal(values)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    """It would lie in a ConfigMap, or in the pod's environment, and neither the service nor its export would use such an address."""
    endpoint = refusal(profile(tokenEndpoint="https://somebody:hush@a.example/t"))
    assert "the tokenEndpoint of primary must not have user information" in endpoint
    collector = refusal({"otel": {"endpoint": "http://somebody:hush@collector:4318"}})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT must not have user information" in collector
    without_scheme = refusal({"env": {"OTEL_EXPORTER_OTLP_ENDPOINT": "somebody:hush@collector:4318"}})
    for said in (endpoint, collector, without_scheme):
        assert "hush" not in said


@pytest.mark.parametrize("values", NONSENSE, ids=str)
def test_nonsense_does_not_pass_the_schema(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in refusal(values)


@pytest.mark.parametrize(
    "values",
    [
        {"replicaCount": 1, "podDisruptionBudget": {"maxUnavailable": 1}},
        {"replicaCount": 3, "podDisruptionBudget": {"minAvailable": 2}},
        {"replicaCount": 2, "podDisruptionBudget": {"minAvailable": "50%"}},
        {"replicaCount": 3, "podDisruptionBudget": {"minAvailable": "66%"}},
        {"replicaCount": 0, "podDisruptionBudget": {"minAvailable": 1}},
        {"rbac": {"create": False, "serviceAccountName": "default"}},
        {"image": {"repository": "registry.example/ext-authz-token-exchange/exchanger"}},
        {"env": {"OTEL_EXPORTER_OTLP_HEADERS": {"valueFrom": {"secretKeyRef": REF}}}},
        {"terminationGracePeriodSeconds": 30},
        {"shutdown": {"preStopSleep": "0"}},
        {"console": {"port": 3001, "token": {"secretName": "console"}}},  # both without a console
        {"console": {"enabled": True, "port": 3002}, "metrics": {"enabled": False}},
        {"console": {"enabled": True, "port": 3000}},
        {**CONSOLE, "env": {"CONSOLE_HOSTS": "jump.example.com"}},
        {"strategy": {"type": "Recreate"}},
        {"env": {"TOKEN_ENDPOINT_ALLOWLIST": "", "OAUTH_CLIENT_ID": None}},
        {**profile(tokenEndpoint="http://a.example/t"), "env": {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "yes"}},
        {"deployments": {"default": {"enabled": True}}, "global": {"anything": 1}, "enabled": True},
        {"prometheusRule": {"enabled": True, "alerts": {"ExchangerAbsent": {"enabled": False}}}, "metrics": {"enabled": False}},
        {"livenessProbe": {"httpGet": {"path": "/metrics", "port": "http-metrics"}}},
        {"otel": {"tracesExporter": "otlp", "sdkDisabled": True}},
        {"env": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}},
        {"service": {"type": "NodePort", "ports": {"grpc-api": {"nodePort": 30001}}}},
        {"issuerProfiles": {"mountPath": "/etc/exchanger/tls"}},  # without TLS
        {"issuerProfiles": {"mountPath": "/etcetera"}},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/ssl/certs"}, {"name": "b", "mountPath": "/tmp"}]},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/ssl/certs/ca.pem", "subPath": "ca.pem"}]},
        {"rbac": {"clusterRoleName": "viewers", "clusterRoleBindingName": "admin:policies"}},
        {"rbac": {"create": False, "clusterRoleName": "view"}},
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},  # as OpenShift wants it
        {"podSecurityContext": {"runAsNonRoot": False}, "securityContext": {"readOnlyRootFilesystem": False}},
        {"env": {"LABEL": "a=b", "CONFIGMAP_LABEL_SELECTOR": "$(LABEL)"}},
        profile(tokenEndpoint="https://issuer.example.com.:14443/token"),
        profile(tokenEndpoint="https://bücher.example:/token"),
        {"networkPolicy": {"extraIngress": [{}], "extraEgress": [{"to": PEERS, "ports": [{"protocol": "TCP", "port": 1, "endPort": 9}]}]}},
        {"tls": {**MTLS["tls"], "only": True}, "tests": {"enabled": False}},
    ],
    ids=str,
)
def test_what_looks_odd_but_works_is_rendered(values: dict[str, Any]) -> None:
    assert render(values)


@pytest.mark.parametrize(
    "selector",
    [
        *(
            "a",
            "!a",
            " ! a , b",
            "a=b",
            "a==b",
            "a!=b",
            "a=",
            "a in (b,c)",
            "a notin ( b , c )",
            "a in(b)",
            "a>1",
            "a < -5",
            "a=b,c in (d),!e",
        ),
        *(
            "example.com/a=b",
            "A_1.x=B_1.x",
            "a in ()",
            "a in (,)",
            "a in (b,)",
            "a in (,b)",
            "a < 5",
            "a>007",
            "a=b ,",
            ",a",
            "a b",
            "a=b=c",
            "a in b",
            "a in (b",
            "(a)",
            "a=b;c",
            "Example.com/a",
            "/a",
        ),
        *(
            "a/b/c",
            "-a",
            "a-",
            "a=-b",
            "{a: b}",
            "a: b",
            '"a"=b',
            "a>b",
            "a" * 63,
            "a" * 64,
            f"a={'b' * 64}",
            "a===b",
            "!a=b",
            "a in (b c)",
        ),
    ],
)
def test_the_chart_takes_the_selectors_that_the_service_takes(selector: str) -> None:
    try:
        parse_selector(selector)
    except ValueError:
        assert "is no label selector" in refusal({"policy": {"namespaceSelector": selector}})
    else:
        assert render({"policy": {"namespaceSelector": selector}})
