"""Our declarations against the official ones, field by field and in both directions."""

import base64
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from tests.proto.ours import MESSAGES, SERVICES, ask, has_witness, needs_witness
from tests.proto.tree import Tree, describe, describe_service, filled, map_entry, samples, to_tree

pytestmark = [pytest.mark.protoc, needs_witness]

WITNESSED = tuple(message for message in MESSAGES if has_witness(message.full_name))


def test_every_field_and_enum_value_is_declared_as_in_the_original() -> None:
    answers = ask({"kind": "describe", "name": message.full_name} for message in WITNESSED)
    for message, official in zip(WITNESSED, answers, strict=True):
        own = describe(message)
        assert own["fields"] == {name: official["fields"].get(name) for name in own["fields"]}, message.full_name
        for enum, numbers in own["enums"].items():
            assert numbers.items() <= official["enums"][enum].items(), enum


def test_services_have_the_methods_of_the_originals() -> None:
    services = tuple(service for service in SERVICES if has_witness(service.full_name))
    answers = ask({"kind": "service", "name": service.full_name} for service in services)
    assert {service.full_name for service in services} == {
        "envoy.service.auth.v3.Authorization",
        "envoy.service.ext_proc.v3.ExternalProcessor",
    }
    assert [describe_service(service) for service in services] == answers


def test_each_side_reads_each_field_that_the_other_writes() -> None:
    own = [sample for message in WITNESSED for sample in samples(message)]
    names = [sample.DESCRIPTOR.full_name for sample in own]
    written = [base64.b64encode(sample.SerializeToString()).decode() for sample in own]
    read = ask({"kind": "parse", "name": name, "bytes": data} for name, data in zip(names, written, strict=True))
    built = ask({"kind": "build", "name": name, "tree": to_tree(sample)} for name, sample in zip(names, own, strict=True))
    for sample, official, serialised in zip(own, read, built, strict=True):
        parsed = type(sample).FromString(base64.b64decode(serialised))
        assert to_tree(sample) == official == to_tree(parsed), sample.DESCRIPTOR.full_name


def test_undeclared_fields_are_skipped() -> None:
    answers = ask({"kind": "samples", "name": message.full_name} for message in WITNESSED)
    skipped = 0
    for message, official in zip(WITNESSED, answers, strict=True):
        for serialised, tree in official:
            declared = _declared(message, tree)
            skipped += declared != tree
            assert to_tree(GetMessageClass(message).FromString(base64.b64decode(serialised))) == declared, message.full_name
    assert skipped > 0


def _declared(message: Descriptor, tree: Tree) -> Tree:
    """Return what is left of an official message's tree when we read it."""
    return {
        key: _declared_value(message, name, value)
        for key, value in tree.items()
        if (name := key.partition(":")[2]) in message.fields_by_name
    }


def _declared_value(message: Descriptor, name: str, value: Any) -> Any:
    field = message.fields_by_name[name]
    entry = map_entry(field)
    inner = entry[1].message_type if entry else field.message_type
    if inner is None:
        return value
    if entry:
        return {key: _declared(inner, one) for key, one in value.items()}
    return [_declared(inner, one) for one in value] if field.is_repeated else _declared(inner, value)


def test_samples_leave_no_field_out() -> None:
    for message in MESSAGES:
        alone = {field.full_name for sample in samples(message) for field, _ in sample.ListFields()}
        assert alone == {field.full_name for field in message.fields}
        together = {field.name for field, _ in filled(message).ListFields()}
        kept = {oneof.fields[-1].name for oneof in message.oneofs}
        assert together == {field.name for field in message.fields if not field.containing_oneof} | kept
