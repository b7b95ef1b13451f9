"""Measurement groups, objects and counters of 4G and 5G elements, with the names of the standards."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MeasurementGroup:
    """A measurement group: one measInfo element of a file."""

    name: str
    """The measInfoId."""
    object: str
    """LDN of its objects below the managed element; `{}` stands for the object number."""
    counters: Sequence[str]


@dataclass(frozen=True, slots=True)
class Family:
    """A generation of elements."""

    element_type: str
    groups: Sequence[MeasurementGroup]
    compact: bool
    """Selects the layout: measTypes/measResults if set, else measType p / r p."""
    vector_every: int
    """Every n-th counter is a vector. 0 means none: the compact layout cannot represent vectors."""


def _group(name: str, of: str, counters: str) -> MeasurementGroup:
    return MeasurementGroup(name, of, counters.split())


LTE = Family(
    "ENodeB",
    (
        _group(
            "EUtranCellFDD",
            "ENodeBFunction=1,EUtranCellFDD={}",
            "RRC.ConnEstabAtt.Sum RRC.ConnEstabSucc.Sum RRC.ConnMean ERAB.EstabInitAttNbr.1 ERAB.EstabInitSuccNbr.1 "
            "ERAB.RelActNbr.1 DRB.PdcpSduVolumeDL_Filter DRB.PdcpSduVolumeUL_Filter DRB.IPThpDl.1 RRU.PrbTotDl "
            "HO.IntraEnbOutAtt.Sum HO.InterEnbOutPrepAtt",
        ),
        _group(
            "EUtranCellTDD",
            "ENodeBFunction=1,EUtranCellTDD={}",
            "RRC.ConnEstabAtt.Sum RRC.ConnReEstabAtt.Sum ERAB.EstabAddAttNbr.1 ERAB.SessionTimeUE DRB.IPLatDl.1 "
            "RRU.PrbTotUl TB.TotNbrDl CARR.WBCQIDist.Bin0 PAG.DiscardedNbr",
        ),
        _group(
            "ENodeBFunction",
            "ENodeBFunction={}",
            "S1SIG.ConnEstabAtt S1SIG.ConnEstabSucc RRU.CellUnavailableTime.Auto EQPT.MeanProcessorUsage "
            "UECNTX.RelReq.Sum",
        ),
    ),
    compact=True,
    vector_every=0,
)
"""Counters of 3GPP TS 32.425."""

NR = Family(
    "GNodeB",
    (
        _group(
            "NRCellDU",
            "GNBDUFunction=1,NRCellDU={}",
            "DRB.UEThpDl DRB.UEThpUl RRU.PrbTotDl RRU.PrbTotUl TB.TotNbrDl.1 DRB.RlcSduLatencyDl CARR.WBCQIDist "
            "CARR.PDSCHMCSDist L1M.SS-RSRP",
        ),
        _group(
            "NRCellCU",
            "GNBCUCPFunction=1,NRCellCU={}",
            "RRC.ConnEstabAtt.mo-Data RRC.ConnEstabSucc.mo-Data RRC.ConnMean SM.PDUSessionSetupReq.1 "
            "SM.PDUSessionSetupSucc.1 MM.HoPrepInterReq MM.HoExeInterSucc",
        ),
        _group(
            "GNBCUUPFunction",
            "GNBCUUPFunction={}",
            "QosFlow.PdcpPduVolumeDl_Filter QosFlow.PdcpPduVolumeUl_Filter DRB.PdcpPacketDropRateDl.1 "
            "DRB.PdcpReordDelayUl PEE.AvgPower",
        ),
    ),
    compact=False,
    vector_every=7,
)
"""Counters of 3GPP TS 28.552. One in seven is a vector, as in real files."""


def family_of(system: str) -> Family:
    """Returns the family of a system by its name: a name that begins with 4 is 4G, all others are 5G."""
    return LTE if system.startswith("4") else NR


def measurement_group(family: Family, number: int, counters: int) -> MeasurementGroup:
    """Returns a group with any number of counters. Once all names are used, they repeat with a number appended.

    >>> measurement_group(NR, 3, 12).name
    'NRCellDU2'
    >>> measurement_group(NR, 3, 12).counters[-3:]
    ['DRB.UEThpDl.No2', 'DRB.UEThpUl.No2', 'RRU.PrbTotDl.No2']
    """
    round_, at = divmod(number, len(family.groups))
    known = family.groups[at]
    names = [_numbered(known.counters, n) for n in range(counters)]
    return MeasurementGroup(f"{known.name}{round_ + 1}" if round_ else known.name, known.object, names)


def _numbered(names: Sequence[str], number: int) -> str:
    round_, at = divmod(number, len(names))
    return f"{names[at]}.No{round_ + 1}" if round_ else names[at]
