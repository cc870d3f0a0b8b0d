"""The admission webhook: a separate process that reports what is wrong with a policy before the API server stores it."""
