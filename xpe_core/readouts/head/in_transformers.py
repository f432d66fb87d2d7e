"""The classification head in transformers.

    ours         XLM-R, RoBERTa, CamemBERT    BERT
    head.dense   classifier.dense             bert.pooler.dense
    head.out     classifier.out_proj          classifier

Both read the first position and compute `out(tanh(dense(.)))`. ELECTRA and others use the same names with another
activation.
"""

from xpe_core.readouts.model_class import Lines, ModelClass, Output

ROBERTA = Output("roberta", {"dense": "classifier.dense", "out": "classifier.out_proj"}, ("classifier",))
BERT = Output("bert", {"dense": "bert.pooler.dense", "out": "classifier"}, ("pooler", "classifier"))
NAMES = """\
names = {names}
"""
KEYWORDS = """
    num_labels=len(names),
    id2label=dict(enumerate(names)),
    label2id={name: index for index, name in enumerate(names)},
"""
TOKENIZE = """\
tokenizer = AutoTokenizer.from_pretrained(base)
tokenizer.padding_side = "right"
texts = ["A text.", "Another, longer text."]{pairs}
batch = tokenizer({texts}, padding=True, truncation=True, max_length={max_length}, return_tensors="pt")"""
BESIDE = """\
hidden = torch.tanh(pooled @ head["dense.weight"].T + head["dense.bias"])
logits = hidden @ head["out.weight"].T + head["out.bias"]"""
MEAN = """\
mask = torch.cat([mask.new_ones(len(mask), hidden.shape[1] - mask.shape[1]), mask], dim=1)[:, :, None]
pooled = (hidden * mask).sum(1) / mask.sum(1)
"""

CLASSIFICATION = ModelClass(
    name="AutoModelForSequenceClassification",
    task="SEQ_CLS",
    pipeline_tag="text-classification",
    title="a classification head",
    reads="first",
    takes_types=True,
    outputs={"bert": BERT, **dict.fromkeys(("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl"), ROBERTA)},
    answers="The {num_classes} classes, in the order of the logits: {classes}.",
    lines=Lines(
        names=NAMES,
        keywords=KEYWORDS,
        tokenize=TOKENIZE,
        whole="logits = output.logits",
        beside={"first": "pooled = hidden[:, 0]\n" + BESIDE, "mean": MEAN + BESIDE},
        show="print([names[index] for index in logits.argmax(-1)])",
    ),
)
