"""`python -m tools.cli` is `pmflow`."""

from tools.cli.main import app

if __name__ == "__main__":
    app()
