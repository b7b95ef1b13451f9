"""Entry point: `python -m tools.simulator` is the same as `pmflow simulate`."""

import typer

from tools.simulator.cli import simulate

if __name__ == "__main__":
    typer.run(simulate)
