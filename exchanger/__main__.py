"""``python -m exchanger``."""

from exchanger.cli import run

if __name__ == "__main__":
    run()
