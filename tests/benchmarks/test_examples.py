"""The examples, run as they stand in the manual but for a backbone and a data set that are tiny."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import xpe_core

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "one_pack.py"


def test_the_example_trains_tests_keeps_and_uses_a_pack(
    backbone: str,
    dataset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    for theirs, ours in (("e5-small", backbone), ("cldr", dataset), ("joshi5", "eng_Latn,deu_Latn")):
        assert f'"{theirs}"' in source
        source = source.replace(f'"{theirs}"', repr(ours))
    monkeypatch.chdir(tmp_path)
    exec(compile(source, str(EXAMPLE), "exec"), {})
    output = capsys.readouterr().out
    assert re.findall(r"step (\d+): [\d.]+ on", output) == ["20", "40", "60"]
    assert re.findall(r"seed (\d): \{'kat_Geor': [\d.]+, 'yor_Latn': [\d.]+\}", output) == ["1", "2", "3"]
    assert output.count("Prediction(label=") == 2
    assert xpe_core.read_adapter("adapter.safetensors").config.seed == 1


def test_the_example_is_short_and_stands_in_the_manual() -> None:
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    statements = len(lines) - 2  # one call is on three lines
    assert statements <= 15
    assert EXAMPLE.read_text(encoding="utf-8") in (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


def test_every_public_name_is_there_and_none_is_imported_before_it_is_used() -> None:
    assert set(xpe_core.__all__) == set(xpe_core.LAZY) <= set(dir(xpe_core))
    for name in xpe_core.__all__:
        assert getattr(xpe_core, name).__name__ == name
    code = "import sys, xpe_core; assert not {'torch', 'ray', 'optuna', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = xpe_core.nothing
