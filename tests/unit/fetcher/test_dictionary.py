"""Counter dictionaries are read in all published forms; other files are refused with their line."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.preprocess.declared import DeclaredType as T
from services.fetcher.preprocess.dictionary import Dictionary, read_dictionary
from shared.settings import BadSettings

VES = """\
pmDictionary: {
  pmDictionaryHeader: {nfType: gnb, pmDefSchemaVsn: 1.0, pmDefVsn: 5G19_1906_002, vendor: Nokia},
  pmDictionaryMeasurements: [
  {
    iMeasInfoId: 2204, iMeasType: 1, measAdditionalFields: {measAggregationLevels: "NGBTS NGCELL"},
    measCollectionMethod: CC, measFamily: NINFC, measInfoId: "NR Intra Frequency PSCell Change",
    measObjClass: NGCELL, measResultRange: 0..4096, measResultType: integer, measResultUnits: number,
    measType: VS.NINFC.IntraFrPscelChAttempt},
  {measInfoId: Other, measResultType: float, measResultUnits: milliseconds, measType: DRB.PdcpSduDelayDl,
   isMeasurementSupported: false}
  ]
}
"""
"""The form of ONAP's VES event registration."""
OLDER = """\
---
pmMetaData: {structure: {pmHeader: {presence: required}}}
---
pmMetaData:
  pmHeader: {nfType: NrRadio, pmDefSchemaVsn: 1.0}
  pmFields: {measInfoId: G, measType: A, measResultType: unit32, measResultUnits: ~}
---
pmMetaData:
  pmHeader: {nfType: NrRadio, pmDefSchemaVsn: 1.0}
  pmFields: {measInfoId: G, measType: B, measResultType: "integer[]"}
...
"""
BARE = "pmDictionaryMeasurements:\n- measType: A\n- {measType: B, measResultUnits: dBm}\n"


def written(folder: Path, *texts: str) -> list[Path]:
    files = [folder / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files


def one(*measurements: str) -> str:
    return "pmDictionaryMeasurements:\n" + "".join(f"- {{{measurement}}}\n" for measurement in measurements)


def test_a_dictionary_tells_types_and_units(tmp_path: Path) -> None:
    known = read_dictionary(written(tmp_path, VES))
    assert known.declared("NR Intra Frequency PSCell Change", ["VS.NINFC.IntraFrPscelChAttempt", "else"]) == (
        T("integer", "number"),
        T(),
    )
    assert known.declared("another group", ["DRB.PdcpSduDelayDl"]) == (T("number", "milliseconds"),)


def test_the_older_form_has_a_document_for_each_measurement_and_one_for_the_schema(tmp_path: Path) -> None:
    assert read_dictionary(written(tmp_path, OLDER)).declared("G", "AB") == (
        T("integer", ""),
        T("vector", ""),
    )


def test_several_dictionaries_are_one_and_the_later_is_right(tmp_path: Path) -> None:
    of = "measInfoId: G, measType: A, measResultType: float"
    assert read_dictionary(written(tmp_path, OLDER, one(of))).declared("G", "AB") == (
        T("number"),
        T("vector"),
    )
    assert read_dictionary(written(tmp_path, one(of), OLDER)).declared("G", "AB") == (
        T("integer"),
        T("vector"),
    )
    known = read_dictionary(written(tmp_path, BARE, OLDER))
    assert known.declared("G", "AB") == (T("integer", ""), T("vector", ""))
    assert known.declared("", "AB") == (T(), T("", "dBm"))


def test_a_counter_of_several_groups_is_known_by_its_group_and_by_its_name_where_all_agree(tmp_path: Path) -> None:
    of = "measInfoId: {0}, measType: {1}, measResultType: {2}"
    entries = [("G", "A", "int"), ("G", "B", "int"), ("H", "A", "long"), ("H", "B", "float")]
    known = read_dictionary(written(tmp_path, one(*(of.format(*entry) for entry in entries))))
    assert known.declared("H", "AB") == (T("integer"), T("number"))
    assert known.declared("elsewhere", "AB") == (T("integer"), T())


@pytest.mark.parametrize(
    ("kind", "words"),
    {
        "integer": "integer int int64 uint32 Unsigned32 unit32 long counter64 unsigned-int INTEGER",
        "number": "float double real decimal Float64",
        "text": "string text boolean enumeration",
        "vector": "array list integer[] array_of_integer histogram",
    }.items(),
)
def test_the_words_of_vendors_for_a_type_are_four_types(tmp_path: Path, kind: str, words: str) -> None:
    for word in words.split():
        (declared_type,) = read_dictionary(written(tmp_path, one(f"measType: A, measResultType: '{word}'"))).declared(
            "", "A"
        )
        assert declared_type.type == kind, word


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "0.yaml, line 2: not valid YAML"),
        ("", "0.yaml: no measurement"),
        ("- a", "0.yaml, line 1: expected a mapping"),
        ("systems: {a: b}", "line 1: expected pmDictionaryMeasurements or pmFields, found systems"),
        (one("measType: A", "measInfoId: B"), "line 3: a measurement has no measType"),
        (one("measType: A", "measType: B, measResultType: uint23x"), "line 3: measResultType 'uint23x' of B"),
        (one("measType: A", "measType: [B]"), "line 3: expected a single value, found a list"),
        (one("measType: A, measType: B"), "line 2: the key 'measType' comes twice"),
        (
            one("measType: A, measResultType: int", "measType: A, measResultType: float"),
            "line 3: A is declared differently than in line 2",
        ),
        ("pmDictionaryMeasurements: many", "line 1: expected a mapping"),
        ("a: !!python/object:os.system x", "expected pmDictionaryMeasurements"),
        ("a: &a [*a]\npmDictionaryMeasurements: *a", "line 1: expected a mapping"),
    ],
)
def test_what_is_no_dictionary_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadSettings) as caught:
        read_dictionary(written(tmp_path, text))
    assert says in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="nowhere"):
        read_dictionary([tmp_path / "nowhere.yaml"])
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff")
    with pytest.raises(BadSettings, match=r"bytes\.yaml"):
        read_dictionary([tmp_path / "bytes.yaml"])


PARTS = st.sampled_from(
    [*"[]{}:,-&*!#|>'\"%@? \n", "\n- ", "---\n", "a", "1.0", "pmDictionary", "pmDictionaryMeasurements", "pmFields",
     "measType", "measResultType", "integer", ": ", "<<: ", "&a ", "*a", "!!int "]
)  # fmt: skip


@given(parts=st.lists(PARTS, max_size=30))
def test_whatever_stands_there_is_a_dictionary_or_refused(
    parts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "some.yaml"
    file.write_text("".join(parts))
    with suppress(BadSettings):
        assert read_dictionary([file]).by_group


def test_an_empty_dictionary_declares_nothing() -> None:
    assert Dictionary().declared("G", "AB") == (T(), T())
