from google.protobuf.wrappers_pb2 import StringValue

from exchanger.grpc.routes import Immediate, Streaming, StreamMethod, UnaryMethod, routes_of
from tests.grpc.peer import echo
from tests.grpc.services import Texts


def test_routes_of_a_service() -> None:
    routes = routes_of(Texts().service())
    kinds = {path: route.streaming for path, route in routes.items() if isinstance(route, StreamMethod)}
    assert kinds == {
        b"/test.Texts/Split": Streaming.UNARY_STREAM,
        b"/test.Texts/Join": Streaming.STREAM_STREAM,
        b"/test.Texts/Echo": Streaming.STREAM_STREAM,
        b"/test.Texts/Flood": Streaming.UNARY_STREAM,
    }
    unary = routes[b"/test.Texts/Upper"]
    assert isinstance(unary, UnaryMethod)
    assert unary.request_type is StringValue


def test_an_immediate_route_takes_the_place_of_a_method() -> None:
    door = Immediate(echo)
    assert {**routes_of(Texts().service()), b"/test.Texts/Upper": door}[b"/test.Texts/Upper"] is door
