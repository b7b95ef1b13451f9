"""The tracker: `python -m services.tracker`."""

from services.tracker.wiring import main

if __name__ == "__main__":
    main()
