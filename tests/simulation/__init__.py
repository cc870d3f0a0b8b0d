"""The whole service in one process under one seed; see ``python -m tests.simulation``.

``kernel`` has time and chance, ``network`` the bytes, ``gateway``, ``issuer`` and ``policy`` the others, ``world`` puts them together, and
``judges`` looks at every answer. What is drawn for a seed is its ``plan``.
"""
