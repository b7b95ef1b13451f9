"""Runs `pmflow` as `python -m tools.cli`."""

from tools.cli.main import app

if __name__ == "__main__":
    app()
