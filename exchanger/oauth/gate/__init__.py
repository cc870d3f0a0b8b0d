"""The gate before an exchange: callers' tokens are judged by their issuers' keys before anything is sent."""
