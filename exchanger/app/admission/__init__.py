"""The admission webhook: a separate process that reports the problems of a policy before the API server stores it."""
