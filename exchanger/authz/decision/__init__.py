"""The decision: a pure function of request, policy and rules, in two steps around the token exchange."""
