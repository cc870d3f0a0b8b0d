"""gRPC for Trio over a sans-IO HTTP/2 codec: what can be called, the protocol machine, and the server that drives it.

Must not know: Envoy, policies, or what any method means.
"""
