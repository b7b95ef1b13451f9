"""libyaml reads an inventory as PyYAML's parser in Python does, or leaves the file to it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shared import inventory
from shared.configuration.flat_yaml import flat_entries
from shared.inventory import endpoints
from shared.settings import BadSettings, System

HAS_LIBYAML = hasattr(yaml, "CSafeLoader")
PIECES = (
    "- ", "-", "{", "}", "[", "]", ": ", ":", ",", ", ", "name", "host", "a", "x1", "00", "~", "null", "'", '"', "''",
    '"', "\n", "\n  ", "\n    ", "\n- ", "\n  - ", " ", "  ", "#", " #c", "&a ", "*a", "&b ", "*b", "<<", "<<: ", "|",
    "|\n   x\n", "> \n", "?", "? ", "!", "!!str ", "!!int ", "%", "%YAML 1.1\n", "---", "--- ", "\n---\n", "\n...\n",
    "\\n", "\\x41", "\\ud800", "@", "`", "é", "\u3000", "\ufeff", "😀", "\xa0", "=", "name: a", "{name: a}",
    "\n  host: h", "- {name: a, host: h}\n", "- name: a\n", "- &a {name: a}\n", "- <<: *a\n  ", "aliases: [x, y]",
    "\t", "\u2028", "\x85", "\x00", "http://x:1", "%Y%m%d", "?a", ":a", "a:", "a#", "|-\n", "|2\n", "|#", '"a\n b"',
)  # fmt: skip
FRAMES = ("{}", "- {{name: a, {}}}\n", "- name: a\n  {}", "- &a {{name: a, port: 1}}\n- {}")
TEXTS = st.tuples(st.sampled_from(FRAMES), st.lists(st.sampled_from(PIECES), max_size=14)).map(
    lambda both: both[0].format("".join(both[1]))
)


def entries_by_python(text: str) -> list[tuple[int, dict[str, Any]]]:
    return list(inventory._entries_by_python(Path("e.yaml"), text))


@pytest.mark.skipif(not HAS_LIBYAML, reason="PyYAML was built without libyaml")
@given(TEXTS)
def test_what_libyaml_takes_python_reads_as_the_same_entries_in_the_same_lines(text: str) -> None:
    found = flat_entries(text)
    if found is not None:
        wanted = entries_by_python(text)
        assert found == wanted
        assert [list(entry) for _, entry in found] == [list(entry) for _, entry in wanted]


@pytest.mark.skipif(not HAS_LIBYAML, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize(
    "text",
    [
        "- {name: a, host: 10.0.0.1, port: 22, password: 'a?b', directory: /pm/%Y%m%d}\n- name: b\n  agent: yes\n",
        "# elements\n---\n- &first {name: a, host: h, aliases: [x, 7]}\n\n- {<<: *first, name: b}\n...\n",
        "- name: é\n  password: &secret ~\n- name: '~'\n  password: *secret\n",
        "- name: a\n  aliases:\n  - x\n  - null\n  directory: /a,\n    /b\n",
        "[]",
    ],
)
def test_usual_files_are_read_by_libyaml(text: str) -> None:
    assert flat_entries(text) == entries_by_python(text)


@pytest.mark.parametrize(
    "text",
    [
        "- {name: a, x?: b}",
        "- {name: a, host: <<}",
        "- {name: a, host: |#}",
        "- name: a\n  host: |#\n",
        "&b\n- x: &b\n",
        "-\tname: a",
        "- {name: !!int 5}",
        "- {name: {a: b}}",
        "- &a {name: a}\n- {<<: *a, <<: *a}",
        "- &a {name: a}\n- {<<: [*a], host: h}",
        "- &a {name: a}\n- *a",
        "- a",
        "- {~: a}",
        "- {name: a, host: *none}",
        "- {name: a}\n---\n- {name: b}",
        "- {name: a",
        "name: a",
        "",
        "\0",
        "[" * 100_000,
    ],
)
def test_all_else_is_left_to_python(text: str) -> None:
    assert flat_entries(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "- {name: a, host: h}\n- &b {name: b, port: 23, aliases: [x, y]}\n- {<<: *b, name: c, agent: on}\n",
        "- {name: a}\n- {name: b, port: 99999}\n",
        "- {name: a}\n- {name: a}\n",
        "- {name: a, password: {s3cret: 1}}",
        "- {name: a, password: s3cret: x}",
        '- {name: "a\\ud800"}',
        '- {name: "a\\U00110000"}',
        "- {name: a, port: ~}",
        "- name: a\n  host: |\n    h\n",
    ],
)
def test_without_libyaml_the_same_files_are_accepted_and_refused_for_the_same_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def outcome(name: str) -> object:
        (tmp_path / name).write_text(text)
        try:
            return dict(endpoints(System(name="4ga", inventory=str(tmp_path / name))))
        except BadSettings as error:
            return str(error).replace(name, "e.yaml")

    found = outcome("1.yaml")
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert flat_entries("[]") is None
    assert outcome("2.yaml") == found
