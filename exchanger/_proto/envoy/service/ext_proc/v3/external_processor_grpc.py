import purerpc
import exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 as envoy_dot_service_dot_ext_proc_dot_v3_dot_external_processor__pb2
import exchanger._proto.envoy.config.core.v3.base_pb2 as envoy_dot_config_dot_core_dot_v3_dot_base__pb2
import exchanger._proto.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 as envoy_dot_extensions_dot_filters_dot_http_dot_ext_proc_dot_v3_dot_processing_mode__pb2
import exchanger._proto.envoy.type.v3.http_status_pb2 as envoy_dot_type_dot_v3_dot_http_status__pb2
import exchanger._proto.google.protobuf.struct_pb2 as google_dot_protobuf_dot_struct__pb2


class ExternalProcessorServicer(purerpc.Servicer):
    async def Process(self, input_messages):
        raise NotImplementedError()

    @property
    def service(self) -> purerpc.Service:
        service_obj = purerpc.Service(
            "envoy.service.ext_proc.v3.ExternalProcessor"
        )
        service_obj.add_method(
            "Process",
            self.Process,
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                envoy_dot_service_dot_ext_proc_dot_v3_dot_external_processor__pb2.ProcessingRequest,
                envoy_dot_service_dot_ext_proc_dot_v3_dot_external_processor__pb2.ProcessingResponse,
            )
        )
        return service_obj


class ExternalProcessorStub:
    def __init__(self, channel):
        self._client = purerpc.Client(
            "envoy.service.ext_proc.v3.ExternalProcessor",
            channel
        )
        self.Process = self._client.get_method_stub(
            "Process",
            purerpc.RPCSignature(
                purerpc.Cardinality.STREAM_STREAM,
                envoy_dot_service_dot_ext_proc_dot_v3_dot_external_processor__pb2.ProcessingRequest,
                envoy_dot_service_dot_ext_proc_dot_v3_dot_external_processor__pb2.ProcessingResponse,
            )
        )
