"""From a gateway's request to its response: the protocols of gateways, the decision, its evaluation and the audit log."""
