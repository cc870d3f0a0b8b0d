"""The gateways that a demo can have. Those that ask over HTTP have the configurations of their guides, which are the files here.

``.ci/generate.py`` writes these files into the guides (docs/how-to/install/).
"""
