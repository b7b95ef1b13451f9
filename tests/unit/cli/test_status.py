from io import StringIO

from rich.console import Console

from services.scanner.operate import ScanSummary, SystemState
from tools.cli.operate.status import systems_table


def test_a_leader_is_shown_with_its_last_scan_and_a_standby_without() -> None:
    scan = ScanSummary(elements=31, unreachable=2, announced=17, held_back=5, left={"too young": 4})
    states = [
        SystemState(system="4ga", scanner="one", state="leading", since_s=60.0, epoch=7, scanned_s=120.0, scan=scan),
        SystemState(system="4ga", scanner="two", state="standby", since_s=60.0),
        SystemState(system="configuration", scanner="one", state="refused", since_s=60.0, reason="no such key"),
    ]
    written = StringIO()
    console = Console(width=200, file=written)
    console.print(systems_table(states))
    leading, standby, refused = (
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in written.getvalue().splitlines()
        if line.startswith("│")
    )
    assert leading[4:] == ["1970-01-01 00:02:00Z", "31", "2", "17", "5", "4 too young"]
    assert standby == ["4ga", "two", "standby", "1970-01-01 00:01:00Z", "", "", "", "", "", ""]
    assert refused[-1] == "no such key"
