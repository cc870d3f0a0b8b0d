"""Envoy's questions and our answers: protobuf on one side, the decision's values on the other."""
