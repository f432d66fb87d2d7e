"""Questions answered by a trained adapter: the answers are those that its evaluation scored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import xpe_core
from tests.making.pairs import make_encoder
from tests.making.questions import write_questions
from tests.making.squad_script import exact_match_score, f1_score
from xpe_core.adapters import Adapter, take_adapter, write_adapter
from xpe_core.answerer import load_answerer
from xpe_core.backbones.backbone import load_backbone, load_tokenizer
from xpe_core.config import RunConfig
from xpe_core.data import DataSource, load_dataset
from xpe_core.data.tokens import TokenisedData, load_tokens
from xpe_core.errors import InputError
from xpe_core.pack import Pack
from xpe_core.training.evaluation import evaluate

Made = tuple[Adapter, Pack, TokenisedData]
Pair = tuple[str, str]


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make an adapter, and passages that take several windows each."""
    folder = tmp_path_factory.mktemp("answerer")
    config = RunConfig(
        task="qa",
        readout="span",
        backbone=make_encoder(request.param, folder / request.param),
        dataset=write_questions(folder / "data", passage_length=40),
        columns="split=50/17/33",
        source_set="eng_Latn",
        max_length=20,
        doc_stride=4,
        num_virtual_tokens=3,
        encoder_ratio=1.0,
        encoder_hidden_size=8,
        precision="float32",
    )
    data = load_tokens(config.source, config.backbone, config.data.max_length, config.task)
    pack = Pack(load_backbone(config.backbone), [config], 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pack.parameters["span.out.weight"].normal_(std=5)  # so that spans differ, in place and length
    return take_adapter(pack, 0, ()), pack, data


def find_questions(data_source: DataSource) -> tuple[list[Pair], list[str]]:
    """Return the English test questions with their passages, and the answers that are right."""
    examples = [one for one in load_dataset(data_source).examples if (one.language, one.split) == ("eng_Latn", "test")]
    return [(one.text, one.text_pair or "") for one in examples], [one.answers[0].text for one in examples]


def test_squads_script_gives_the_answers_what_evaluation_gave(made: Made) -> None:
    adapter, pack, data = made
    pairs, right = find_questions(adapter.config.source)
    answers = load_answerer(adapter).answer(pairs)
    (score,) = evaluate(pack, data, "test", ["eng_Latn"])[0]
    assert score.num_examples == len(pairs) > 20
    f1 = [f1_score(answer.text, one) for answer, one in zip(answers, right, strict=True)]
    exact = [exact_match_score(answer.text, one) for answer, one in zip(answers, right, strict=True)]
    assert score.score_sums == pytest.approx({"f1": sum(f1), "exact_match": sum(exact)}) and sum(f1) > 0
    for answer, (_, passage) in zip(answers, pairs, strict=True):
        assert answer.text and passage[answer.start :].startswith(answer.text) and np.isfinite(answer.score)
    assert max(answer.start for answer in answers) > 40  # of a later window


def test_questions_are_answered_alike_alone_together_and_in_a_stream(made: Made) -> None:
    adapter, *_ = made
    answerer, pairs = load_answerer(adapter), find_questions(adapter.config.source)[0]
    together = answerer.answer([*pairs, pairs[0]])
    assert together[-1] == together[0] and list(answerer.stream(iter(pairs))) == together[:-1]
    for pair, answer in list(zip(pairs, together, strict=False))[:5]:
        (alone,) = answerer.answer([pair])
        assert (alone.text, alone.start) == (answer.text, answer.start)
        assert alone.score == pytest.approx(answer.score, abs=1e-4)


def test_blanks_around_a_passage_move_its_answer_and_an_empty_one_has_none(made: Made) -> None:
    answerer = load_answerer(made[0])
    ((question, passage),) = find_questions(made[0].config.source)[0][:1]
    plain, moved, empty = answerer.answer([(question, passage), (question, f" \n {passage}  "), (question, " ")])
    assert (moved.text, moved.start) == (plain.text, plain.start + 3) and moved.score == pytest.approx(plain.score)
    assert empty == ("", 0, -np.inf)
    assert answerer.answer([]) == []


def test_an_adapters_file_is_loaded_in_one_line(made: Made, tmp_path: Path) -> None:
    write_adapter(made[0], tmp_path / "run.safetensors")
    pairs, _ = find_questions(made[0].config.source)
    loaded = xpe_core.load_answerer(tmp_path / "run.safetensors")
    assert loaded.answer(pairs) == load_answerer(made[0]).answer(pairs)


def test_what_cannot_be_answered_is_one_sentence(made: Made) -> None:
    answerer = load_answerer(made[0])
    with pytest.raises(InputError, match=r"^text 2 is no pair \(question, context\) of strings but 'g a'"):
        answerer.answer([("g a", "a b c"), "g a"])
    with pytest.raises(InputError, match="^text 1 holds half a character"):
        answerer.answer([("g a", "a \ud800 c")])
    with pytest.raises(InputError, match="a question of 30 tokens leaves 0 for its passage.*it is 'g g g g"):
        answerer.answer([("g " * 30, "a b c")])
    with pytest.raises(InputError, match="^a classifier takes classes, and the answers of readout=span are none$"):
        xpe_core.load(made[0])


def test_an_answer_begins_at_its_first_letter_where_tokens_have_the_blank_before_it(tmp_path: Path) -> None:
    """As with XLM-R's own tokenizer."""
    backbone = Path(make_encoder("xlm-roberta", tmp_path))
    letters = {word: number for word, number in load_tokenizer(str(backbone)).get_vocab().items() if len(word) == 1}
    words = {
        "<s>": 0,
        "<pad>": 1,
        "</s>": 2,
        "<unk>": 3,
        **{f"▁{letter}": number for letter, number in letters.items()},
    }
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(backbone)
    config = RunConfig(task="qa", readout="span", backbone=str(backbone), tuning="none", max_length=16, doc_stride=2)
    pack = Pack(load_backbone(config.backbone), [config], 0)
    pack.parameters["span.out.weight"].normal_(std=5, generator=torch.Generator().manual_seed(0))
    passage = "a b c d e f"
    for answer in load_answerer(take_adapter(pack, 0, ())).answer(
        [("g", passage), ("h a", f"  {passage}"), ("b", "c")]
    ):
        assert answer.text == answer.text.strip() != ""
    for shift in (0, 2):
        (answer,) = load_answerer(take_adapter(pack, 0, ())).answer([("g", " " * shift + passage)])
        assert (" " * shift + passage)[answer.start :].startswith(answer.text)
