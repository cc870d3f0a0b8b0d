"""``python -m exchanger``."""

import sys

from exchanger.cli import main

if __name__ == "__main__":
    sys.exit(main())
