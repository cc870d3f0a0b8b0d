"""OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/): encoding, sending and the loops that do it, without OpenTelemetry's SDK."""
