"""The fetcher: `python -m services.fetcher`."""

from services.fetcher.wiring import main

if __name__ == "__main__":
    main()
