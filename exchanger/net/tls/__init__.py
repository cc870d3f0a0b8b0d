"""TLS for the gRPC port: certificates that follow their files, and the transport between OpenSSL and the socket."""
