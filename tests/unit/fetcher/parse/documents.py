"""Generates PM documents with Hypothesis: any dialect and layout, tidy or odd, all of them well-formed."""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

NUMBERS = (
    "0",
    "1",
    "17",
    "234567",
    "9223372036854775807",
    "-9223372036854775808",
    "0.000000",
    "-3.25",
    "1e5",
    "2.5E-3",
)
ODD_NUMBERS = ("007", "+5", ".5", "5.", "-.5", "-0", "00", "9223372036854775808", "1e999", "-1e999", "1" * 30, "0" * 25)
MISSING = ("", " ", "NIL", "nil", "NULL", "null", "NaN", "-", "N/A", "\t")
TEXTS = (
    "up",
    "1.2.3",
    "1-2",
    "--5",
    "1 2",
    "[1]",
    "[1,2]",
    '"x"',
    "a&b",
    "<b>",
    "x>y",
    "Zür\u00a0ich",
    "\u2028",
    "e5",
    "true",
    "{}",
)
VECTORS = (
    "0,0,0",
    "1,2,,3",
    " , , ",
    "1, 2",
    "NIL,1",
    "0.5,-1,x",
    "a,b",
    "1,99999999999999999999",
    ",",
    "01,2",
    "1e999,1",
)

tokens = st.sampled_from((*NUMBERS, *ODD_NUMBERS, "NIL", "-", "up", "0,0,3", "1,,2", "a&b"))
"""Values without blanks, for lists."""
values = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(str),
    st.sampled_from(ODD_NUMBERS + MISSING + TEXTS + VECTORS),
)
plain_values = st.one_of(st.integers(0, 10**6).map(str), st.sampled_from((" ", "0", "0.5", "1,2", "NIL")))
names = st.sampled_from([f"pm{i}" for i in range(8)] + ["VS.a-b", "é&ü"])
objects = st.sampled_from(
    [f"ManagedElement=1,Cell={i}" for i in range(6)] + ["", "A=1\\,x,B=2", 'q="&"', " C=1 ", "ü=[1]"]
)
spaces = st.sampled_from(("", "\n", "\n    ", "\r\n\t", " "))
ends = st.sampled_from(
    ("2023-05-15T07:15:00+0100", "2023-05-15T06:15:00Z", "2023-05-15T07:15:00", "2023-05-15T24:00:00.000-05:00")
)
comments = st.sampled_from(("", "", "", "<!-- <measValue> -->", "<?pi x?>", "<vendor:x>1</vendor:x>"))


@dataclass(frozen=True)
class Words:
    """The tags of a dialect."""

    info: str
    row: str
    type: str
    suspect: str


MEAS = Words("measInfo", "measValue", "measType", "suspect")
MDC = Words("mi", "mv", "mt", "sf")


@st.composite
def infos(draw: st.DrawFn, words: Words, *, tidy: bool) -> str:
    """Generates measInfos; tidy ones are like those that elements write every day."""
    space = draw(spaces)
    extra = draw(st.just("") if tidy else comments)
    head = extra + _head(draw, words, space)
    sets = draw(st.integers(0, 2)) if words is MDC else 0
    if not sets:
        return f"{head}{_measured(draw, words, space, tidy=tidy)}</{words.info}>{space}"
    suspects = st.sampled_from(("", f"<sf>true</sf>{space}", "<sf>FALSE</sf>"))
    body = "".join(
        f"<ms>{space}<msn>{draw(st.sampled_from(('CardStat', ' PortStat', '')))}</msn>{space}{draw(suspects)}"
        f"{_measured(draw, words, space, tidy=tidy)}</ms>{space}"
        for _ in range(sets)
    )
    return f"{head}{body}</{words.info}>{space}"


def _measured(draw: st.DrawFn, words: Words, space: str, *, tidy: bool) -> str:
    """Generates counters and rows."""
    extra = st.just("") if tidy else comments
    counters = draw(st.lists(names, min_size=1, max_size=6, unique=tidy or draw(st.booleans())))
    is_list = words is MEAS and draw(st.booleans())
    cells = plain_values if tidy else values
    has_p = words is MEAS or draw(st.booleans())
    parts: list[str] = []
    positions = [str(at) for at in range(1, len(counters) + 1)]
    if not tidy and draw(st.booleans()):
        positions = [str(p) for p in draw(st.permutations(range(1, 20)))[: len(counters)]]
    are_named_in_rows = is_list and draw(st.integers(0, 3)) == 3
    if is_list and not are_named_in_rows:
        parts.append(f"<measTypes>{_names(draw, counters)}</measTypes>{space}")
    elif not is_list:
        for p, name in zip(positions, counters, strict=True):
            attribute = f' p="{p}"' if has_p else ""
            parts.append(f"<{words.type}{attribute}>{escape(name)}</{words.type}>{space}")
    for _ in range(draw(st.integers(0, 4))):
        parts.append(draw(extra))
        suspect = draw(st.sampled_from(("", "", "true", "false", " TRUE ")))
        named = draw(st.sampled_from((counters, counters, counters[:1]))) if are_named_in_rows else counters
        own = f"<measTypes>{_names(draw, named)}</measTypes>{space}" if are_named_in_rows else ""
        body = (
            own + _list(draw, len(named), tidy=tidy)
            if is_list
            else _split(draw, positions if has_p else [""] * len(counters), cells, space, tidy=tidy)
        )
        mark = f"<{words.suspect}>{suspect}</{words.suspect}>{space}" if suspect else ""
        parts.append(_row(words, draw(objects), space, body, mark))
    return "".join(parts)


def _names(draw: st.DrawFn, counters: list[str]) -> str:
    return draw(st.sampled_from((" ", " ", "\n", ", ", ","))).join(escape(name) for name in counters)


def _head(draw: st.DrawFn, words: Words, space: str) -> str:
    end = draw(ends)
    if words is MDC:
        return f"<mi>{space}<mts>20200518160000Z</mts>{space}<gp>900</gp>{space}"
    group = draw(st.sampled_from(("", ' measInfoId="A"', ' measInfoId="B &amp; C"')))
    job = draw(st.sampled_from("12"))
    return f'<measInfo{group}>{space}<job jobId="{job}"/><granPeriod duration="PT900S" endTime="{end}"/>{space}'


def _row(words: Words, name: str, space: str, body: str, mark: str) -> str:
    if words is MDC:
        return f"<mv>{space}<moid>{escape(name)}</moid>{space}{body}{mark}</mv>{space}"
    return f"<measValue measObjLdn={quoteattr(name)}>{space}{body}{mark}</measValue>{space}"


def _list(draw: st.DrawFn, count: int, *, tidy: bool) -> str:
    cells = draw(st.lists(tokens, min_size=count, max_size=count if tidy else count + draw(st.integers(0, 1))))
    between = (
        draw(st.sampled_from((" ", "\n  ")))
        if any("," in cell for cell in cells)
        else draw(st.sampled_from((" ", "\n  ", ", ", " ,")))
    )
    return f"<measResults>{draw(spaces)}{between.join(escape(cell) for cell in cells)}{draw(spaces)}</measResults>"


def _split(draw: st.DrawFn, positions: list[str], cells: st.SearchStrategy[str], space: str, *, tidy: bool) -> str:
    written = list(positions)
    if not tidy and positions[0]:
        written = draw(st.permutations(written))[: draw(st.integers(0, len(written)))]
        if draw(st.integers(0, 9)) == 9:
            written += draw(st.sampled_from((written[:1], ["77"])))
    elif draw(st.integers(0, 5)) == 5 and positions[0]:
        written.pop(draw(st.integers(0, len(written) - 1)))
    parts = []
    for p in written:
        attribute = f' p="{p}"' if p else ""
        text = draw(cells)
        empty = f"<r{attribute}/>" if not text and draw(st.booleans()) else ""
        inner = f"<![CDATA[{text}]]>" if not tidy and draw(st.integers(0, 9)) == 9 else escape(text)
        parts.append((empty or f"<r{attribute}>{inner}</r>") + space)
    return "".join(parts)


@st.composite
def documents(draw: st.DrawFn, *, tidy: bool = False) -> str:
    """Generates a complete document."""
    words = draw(st.sampled_from((MEAS, MEAS, MDC)))
    prolog = draw(
        st.sampled_from(('<?xml version="1.0" encoding="UTF-8"?>\n', "", '\n<?pi a?>\n<?xml version="1.0"?>'))
    )
    datas = draw(st.lists(st.lists(infos(words, tidy=tidy), max_size=4), min_size=1, max_size=2))
    if words is MDC:
        nedn = st.sampled_from(("", "SubNetwork=1,MeContext=R1"))
        period = st.sampled_from(("", "<mts>20221117160000-0200</mts><gp>3600</gp>"))
        body = "".join(
            f"<md><neid><neun>RNC</neun><nedn>{draw(nedn)}</nedn></neid>{draw(period)}{''.join(data)}</md>"
            for data in datas
        )
        prolog += '<!DOCTYPE mdc SYSTEM "MeasDataCollection.dtd">\n'
        return f'{prolog}<mdc xmlns:vendor="urn:v"><mfh><sn>S=1</sn></mfh>{body}<mff><ts>x</ts></mff></mdc>'
    spellings = (
        ("measCollecFile", "managedElement"),
        ("measDataFile", "measEntity"),
        ("MeasDataFile", "measuredEntity"),
    )
    root, managed = draw(st.sampled_from(spellings))
    prefix, sender = draw(st.sampled_from(("", "DC=a,SubNetwork=1"))), draw(st.sampled_from(("", "MeContext=1")))
    locals_ = st.sampled_from(("", "ManagedElement=1", "ManagedElement=2"))
    body = "".join(f'<measData><{managed} localDn="{draw(locals_)}"/>{"".join(data)}</measData>' for data in datas)
    header = f'<fileHeader dnPrefix="{prefix}"><fileSender localDn="{sender}"/></fileHeader>'
    return f'{prolog}<{root} xmlns="urn:x" xmlns:vendor="urn:v">{header}{body}<fileFooter/></{root}>\n'


@st.composite
def omes(draw: st.DrawFn, *, tidy: bool = False) -> str:
    """Generates a complete OMeS document with many results of a few forms."""
    space = draw(spaces)
    setups = []
    for _ in range(draw(st.integers(1, 2))):
        forms = draw(st.lists(_forms(), min_size=1, max_size=2))
        results = [
            _result(draw, draw(st.sampled_from(forms)), space, tidy=tidy) for _ in range(draw(st.integers(0, 14)))
        ]
        start = draw(st.sampled_from(("2023-05-15T07:00:00.000+01:00:00", "2023-05-15T07:15:00.000Z")))
        setups.append(f'<PMSetup startTime="{start}" interval="15">{space}{"".join(results)}</PMSetup>{space}')
    return f'<?xml version="1.0"?>\n<OMeS xmlns="pm/x.xsd">{space}{"".join(setups)}</OMeS>\n'


@dataclass(frozen=True)
class Form:
    """Generates the form of results: the name of the object, and the counters of each measurement type."""

    parts: tuple[str, ...]
    dimensions: int
    targets: tuple[tuple[str, tuple[str, ...]], ...]
    is_object_last: bool


@st.composite
def _forms(draw: st.DrawFn) -> Form:
    counters = st.lists(st.sampled_from([f"M8001C{at}" for at in range(6)]), min_size=1, max_size=4).map(tuple)
    types = st.sampled_from(("Cell_Load", "NX2CB", "B &amp; C"))
    targets = draw(st.lists(st.tuples(types, counters), min_size=1, max_size=2))
    parts = draw(st.sampled_from((("DN",), ("baseId", "localMoid"))))
    return Form(parts, draw(st.integers(1, 2)), tuple(targets), draw(st.integers(0, 5)) == 5)


def _result(draw: st.DrawFn, form: Form, space: str, *, tidy: bool) -> str:
    names = st.sampled_from([f"PLMN-PLMN/MRBTS-{at}" for at in range(4)] + ["DN:NE-LNCEL-1", " A-1 "])
    cells = plain_values if tidy else values
    extra = st.just("") if tidy else st.sampled_from(("", "", "", "", "<!-- <PMMOResult> -->", "<?pi x?>"))
    measured = "".join(
        "<MO>" + space + "".join(f"<{part}>{draw(names)}</{part}>{space}" for part in form.parts) + f"</MO>{space}"
        for _ in range(form.dimensions)
    )
    targets = ""
    for group, counters in form.targets:
        texts = [escape(draw(cells)) for _ in counters]
        if not tidy and draw(st.integers(0, 9)) == 9:
            texts[0] = f"<![CDATA[{draw(tokens)}]]>".replace("&", "x")
        leaves = "".join(f"<{name}>{text}</{name}>{space}" for name, text in zip(counters, texts, strict=True))
        targets += f'{draw(extra)}<NE-WBTS_1.0 measurementType="{group}">{space}{leaves}</NE-WBTS_1.0>{space}'
    inner = targets + measured if form.is_object_last else measured + targets
    return f"<PMMOResult>{space}{inner}</PMMOResult>{space}{draw(extra)}"
