"""gRPC for Trio over a sans-IO HTTP/2 codec: routes, the protocol machine, and the server that drives it.

Must not know: Envoy, policies, or what any method means.
"""
