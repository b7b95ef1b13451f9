"""The PM Dictionary of simulated elements, as a vendor delivers it with a release (ONAP VES event registration)."""

import yaml

from tools.simulator.families import family_of, measurement_group
from tools.simulator.generate import Shape, vectors

UNITS = {
    "Volume": "kilobits",
    "PduVol": "kilobits",
    "Thp": "kilobits/s",
    "Lat": "milliseconds",
    "Delay": "milliseconds",
    "Time": "seconds",
    "RSRP": "dBm",
    "Power": "watts",
    "Usage": "percent",
}
"""Unit in 3GPP TS 32.425 and 28.552, by a part of the counter's name; all other counters are plain numbers."""


def dictionary(shape: Shape, system: str) -> bytes:
    """Returns the dictionary of all counters of a system, as YAML."""
    family = family_of(system)
    measured = [measurement_group(family, number, shape.counters) for number in range(shape.groups)]
    measurements = [
        {
            "measInfoId": one.name,
            "measType": counter,
            "measObjClass": one.object.rpartition(",")[2].partition("=")[0],
            "measResultType": "integer[]" if counter in vectors(family, one) else "float",
            "measResultUnits": next((unit for part, unit in UNITS.items() if part in counter), "number"),
        }
        for one in measured
        for counter in one.counters
    ]
    header = {"nfType": family.element_type, "pmDefSchemaVsn": "2.0", "pmDefVsn": "simulated", "vendor": "pmflow"}
    whole = {"pmDictionary": {"pmDictionaryHeader": header, "pmDictionaryMeasurements": measurements}}
    return yaml.safe_dump(whole, sort_keys=False).encode()
