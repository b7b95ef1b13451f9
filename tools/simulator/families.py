"""What each generation of elements measures: groups, objects and counters, named as the standards name them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """A measurement group: one measInfo of a file."""

    name: str
    """MeasInfoId."""
    object: str
    """LDN of its objects below the managed element; `{}` is their number."""
    counters: Sequence[str]


@dataclass(frozen=True, slots=True)
class Family:
    """A generation of elements."""

    element_type: str
    groups: Sequence[Group]
    compact: bool
    """measTypes/measResults, as against measType p / r p."""
    vector_every: int
    """Every so-many-th counter is a vector; 0: none, as a vector has no place in the compact layout."""


def _group(name: str, of: str, counters: str) -> Group:
    return Group(name, of, counters.split())


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
"""Counters of 3GPP TS 28.552; one in seven is a vector, as in real files."""


def family_of(system: str) -> Family:
    """By the system's name: 4ga is 4G, all others are 5G."""
    return LTE if system.startswith("4") else NR


def group(family: Family, number: int, counters: int) -> Group:
    """Any number of groups and of counters, by numbering on.

    >>> group(NR, 3, 12).name
    'NRCellDU2'
    >>> group(NR, 3, 12).counters[-3:]
    ['DRB.UEThpDl.No2', 'DRB.UEThpUl.No2', 'RRU.PrbTotDl.No2']
    """
    round_, at = divmod(number, len(family.groups))
    known = family.groups[at]
    names = [_numbered(known.counters, n) for n in range(counters)]
    return Group(f"{known.name}{round_ + 1}" if round_ else known.name, known.object, names)


def _numbered(names: Sequence[str], number: int) -> str:
    round_, at = divmod(number, len(names))
    return f"{names[at]}.No{round_ + 1}" if round_ else names[at]
