"""``python -m exchanger.demo.serve``: the service as ``exchanger serve`` starts it, with a console that shows what is in tokens.

The only way to such a console: no setting and no variable leads there, so that none can be left set by mistake. The tokens of a demo are
worth nothing. Must not know: what else the demo starts.
"""

import sys

from exchanger.app.serve import serve

if __name__ == "__main__":
    sys.exit(serve(console_shows_tokens=True))
