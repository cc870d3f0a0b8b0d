"""The admission webhook: a process of its own, which says what is wrong with a policy before the API server stores it."""
