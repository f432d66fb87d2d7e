"""Spans in transformers: its classes for question answering have one layer `qa_outputs` on all states.

ModernBERT's has another one before it, and is none of them. A passage is read in windows, as in training.
"""

from xpe_core.readouts.model_class import Lines, ModelClass, Output

LAYERS = {"out": "qa_outputs"}
ENCODERS = {
    "bert": ("bert",),
    "deberta": ("deberta", "deberta-v2"),
    "roberta": ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl"),
}
"""Kinds of encoders, by what they are called in their class."""
TOKENIZE = """\
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.padding_side = "right"
questions = ["Who wrote it?"]
passages = ["It was written by Ada."]
batch = tokenizer(
    questions,
    passages,
    padding=True,
    truncation="only_second",
    max_length={max_length},
    stride={doc_stride},
    return_overflowing_tokens=True,  # a passage is read in windows
    return_offsets_mapping=True,
    return_tensors="pt",
)
offsets, owners = batch.pop("offset_mapping").tolist(), batch.pop("overflow_to_sample_mapping").tolist()"""
SHOW = """\
inside = torch.tensor([[part == 1 for part in batch.sequence_ids(window)] for window in range(len(owners))])
spans = (inside[:, :, None] & inside[:, None, :]).triu().tril({max_answer_length} - 1)  # first and last token
scores = (start[:, :, None] + end[:, None, :]).masked_fill(~spans, -torch.inf).flatten(1)
scores, places = (values.tolist() for values in scores.max(-1))
answers = []
for question, passage in enumerate(passages):
    window = max((index for index, owner in enumerate(owners) if owner == question), key=scores.__getitem__)
    first, last = divmod(places[window], start.shape[1])
    answers.append(passage[offsets[window][first][0] : offsets[window][last][1]].strip())
print(answers)"""
BESIDE = """\
logits = hidden[:, -mask.shape[1] :] @ head["out.weight"].T + head["out.bias"]
start, end = logits.unbind(-1)"""

QUESTION_ANSWERING = ModelClass(
    name="AutoModelForQuestionAnswering",
    task="QUESTION_ANS",
    pipeline_tag="question-answering",
    title="a head for spans",
    reads="text",
    takes_types=False,
    outputs={kind: Output(encoder, LAYERS, ("qa_outputs",)) for encoder, kinds in ENCODERS.items() for kind in kinds},
    answers="An answer is a span of the passage: every token has a start and an end logit.",
    lines=Lines(
        names="",
        keywords="",
        tokenize=TOKENIZE,
        whole="start, end = output.start_logits, output.end_logits",
        beside={"text": BESIDE},
        show=SHOW,
    ),
)
