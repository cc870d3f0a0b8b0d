"""Policy: from the text of a document to the decision on a request. Pure and synchronous.

Must not know: trio, clocks, loggers, protobuf, HTTP clients, Kubernetes, or who asks.
"""
