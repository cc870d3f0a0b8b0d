"""gRPC's own services, whose official classes are not among the development dependencies, against their published definitions.

Sources: https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto and
https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto (v1alpha differs in its package name only).
"""

from typing import Any

import pytest

from tests.proto.ours import MESSAGES, SERVICES, has_witness
from tests.proto.tree import describe, describe_service, samples, to_tree

# By message: number, type as in the .proto file, and the oneof that the field belongs to.
Fields = dict[str, tuple[int, str, str | None]]
HEALTH: dict[str, Fields] = {
    "HealthCheckRequest": {"service": (1, "string", None)},
    "HealthCheckResponse": {"status": (1, "HealthCheckResponse.ServingStatus", None)},
    "HealthListRequest": {},
    "HealthListResponse": {"statuses": (1, "map<string, HealthCheckResponse>", None)},
}
REFLECTION: dict[str, Fields] = {
    "ServerReflectionRequest": {
        "host": (1, "string", None),
        "file_by_filename": (3, "string", "message_request"),
        "file_containing_symbol": (4, "string", "message_request"),
        "file_containing_extension": (5, "ExtensionRequest", "message_request"),
        "all_extension_numbers_of_type": (6, "string", "message_request"),
        "list_services": (7, "string", "message_request"),
    },
    "ExtensionRequest": {"containing_type": (1, "string", None), "extension_number": (2, "int32", None)},
    "ServerReflectionResponse": {
        "valid_host": (1, "string", None),
        "original_request": (2, "ServerReflectionRequest", None),
        "file_descriptor_response": (4, "FileDescriptorResponse", "message_response"),
        "all_extension_numbers_response": (5, "ExtensionNumberResponse", "message_response"),
        "list_services_response": (6, "ListServiceResponse", "message_response"),
        "error_response": (7, "ErrorResponse", "message_response"),
    },
    "FileDescriptorResponse": {"file_descriptor_proto": (1, "repeated bytes", None)},
    "ExtensionNumberResponse": {"base_type_name": (1, "string", None), "extension_number": (2, "repeated int32", None)},
    "ListServiceResponse": {"service": (1, "repeated ServiceResponse", None)},
    "ServiceResponse": {"name": (1, "string", None)},
    "ErrorResponse": {"error_code": (1, "int32", None), "error_message": (2, "string", None)},
}
PACKAGES = {"grpc.health.v1": HEALTH, "grpc.reflection.v1": REFLECTION, "grpc.reflection.v1alpha": REFLECTION}
# https://protobuf.dev/programming-guides/encoding/ names them; the numbers are FieldDescriptorProto.Type's.
TYPES = {5: "int32", 9: "string", 12: "bytes"}


def _type_name(field: dict[str, Any], package: str) -> str:
    if "map" in field:
        key, value = (_type_name(field["map"][part], package) for part in ("key", "value"))
        return f"map<{key}, {value}>"
    kind: str = (field["message"] or field["enum"] or TYPES[field["type"]]).removeprefix(f"{package}.")
    return f"repeated {kind}" if field["repeated"] else kind


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_are_the_published_ones(package: str) -> None:
    declared = {
        message.name: {
            name: (field["number"], _type_name(field, package), field["oneof"]) for name, field in describe(message)["fields"].items()
        }
        for message in MESSAGES
        if message.file.package == package
    }
    assert declared == PACKAGES[package]


def test_serving_status_is_the_published_one() -> None:
    response = next(message for message in MESSAGES if message.full_name == "grpc.health.v1.HealthCheckResponse")
    assert describe(response)["enums"] == {
        "grpc.health.v1.HealthCheckResponse.ServingStatus": {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3}
    }


def test_services_are_the_published_ones() -> None:
    def reflection(package: str) -> dict[str, Any]:
        return {"ServerReflectionInfo": [True, f"{package}.ServerReflectionRequest", True, f"{package}.ServerReflectionResponse"]}

    health = "grpc.health.v1.Health"
    assert {service.full_name: describe_service(service) for service in SERVICES if not has_witness(service.full_name)} == {
        health: {
            "Check": [False, f"{health}CheckRequest", False, f"{health}CheckResponse"],
            "List": [False, f"{health}ListRequest", False, f"{health}ListResponse"],
            "Watch": [False, f"{health}CheckRequest", True, f"{health}CheckResponse"],
        },
        "grpc.reflection.v1.ServerReflection": reflection("grpc.reflection.v1"),
        "grpc.reflection.v1alpha.ServerReflection": reflection("grpc.reflection.v1alpha"),
    }


def test_every_field_survives_a_round_trip() -> None:
    for message in MESSAGES:
        for sample in samples(message):
            assert to_tree(type(sample).FromString(sample.SerializeToString())) == to_tree(sample)
