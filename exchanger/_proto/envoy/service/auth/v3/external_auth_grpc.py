import purerpc
import exchanger._proto.envoy.service.auth.v3.external_auth_pb2 as envoy_dot_service_dot_auth_dot_v3_dot_external_auth__pb2
import exchanger._proto.envoy.config.core.v3.base_pb2 as envoy_dot_config_dot_core_dot_v3_dot_base__pb2
import exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 as envoy_dot_service_dot_auth_dot_v3_dot_attribute_context__pb2
import exchanger._proto.envoy.type.v3.http_status_pb2 as envoy_dot_type_dot_v3_dot_http_status__pb2
import exchanger._proto.google.protobuf.struct_pb2 as google_dot_protobuf_dot_struct__pb2
import exchanger._proto.google.rpc.status_pb2 as google_dot_rpc_dot_status__pb2


class AuthorizationServicer(purerpc.Servicer):
    async def Check(self, input_message):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "envoy.service.auth.v3.Authorization"
        )
        service_obj.add_method(
            "Check",
            self.Check,
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                envoy_dot_service_dot_auth_dot_v3_dot_external_auth__pb2.CheckRequest,
                envoy_dot_service_dot_auth_dot_v3_dot_external_auth__pb2.CheckResponse,
            )
        )
        return service_obj


class AuthorizationStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "envoy.service.auth.v3.Authorization",
            channel
        )
        self.Check = self._client.get_method_stub(
            "Check",
            purerpc.RPCSignature(
                purerpc.Cardinality.UNARY_UNARY,
                envoy_dot_service_dot_auth_dot_v3_dot_external_auth__pb2.CheckRequest,
                envoy_dot_service_dot_auth_dot_v3_dot_external_auth__pb2.CheckResponse,
            )
        )
