"""Envoy external authorization that exchanges the caller's token for one issued for the upstream (RFC 8693)."""

import sys

__version__ = "0.1.0"

# Before anything is imported that an older Python cannot read. Only CPython is tested; PyPy's ``re`` is known to match wrongly
# (https://github.com/pypy/pypy/issues/5504), and so would policies.
if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
    import platform

    sys.exit("exchanger needs CPython 3.11 or newer. This is " + platform.python_implementation() + " " + platform.python_version() + ".")
