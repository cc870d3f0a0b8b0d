"""The protocol with an issuer: token requests and responses, client authentication and its rotation, metadata."""
