import pytest

from services.scanner.file_name import element_of


@pytest.mark.parametrize(
    ("name", "element"),
    [
        (b"A20230515.0700_0100-0715_0100_GNODEB-0.xml", "GNODEB-0"),
        (b"A20181002.0000-1000-0015-1000_5G.xml.gz", "5G"),
        (b"A20220418.1900-1915_seliitdus00487.xml", "seliitdus00487"),
        (b"A20000626.2315+0200-2330+0200_NodeBId.xml", "NodeBId"),
        (b"B20021224.1700-1705_-job1_NodeBId_-_2", "NodeBId"),
        (b"A20261231.2345+0000-20270101.0000+0000_a.b-c_d.xml.gz", "a.b-c_d"),
        (b"D20021224.1700+1130-20021224.1705+1130_-12_SubNetwork=1,NodeB=2.xml.gz", "SubNetwork=1,NodeB=2"),
        (b"C20190328.0000-0015.xml", "host"),
        (b"A1.xml", "host"),
        (b"A20230515.0700_0100-0715_0100_\xff.xml", "\ufffd"),
        (b"", "host"),
    ],
)
def test_the_unique_id_of_the_name_is_the_element(name: bytes, element: str) -> None:
    assert element_of(name, otherwise="host") == element
