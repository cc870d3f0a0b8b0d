"""What operators see of the service: log lines, metrics and spans, each a function of the records that a request leaves."""
