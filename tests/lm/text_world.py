"""A data folder with a table of texts, and a tiny encoder next to it whose tokenizer has one word per token."""

import json
from pathlib import Path

from tests.lm.classifiers import save

WORDS = ("<none>", "<pad>", *"abcdefghijkl", "good", "bad", "fair")
TABLE = [(f"{word} {letter}", word) for letter in "abcdefghijkl" for word in ("good", "bad", "fair")]
SETTINGS = (
    "data.name=text",
    "data.train=own/reviews.csv",
    "data.text_column=review",
    "data.label_column=stars",
    "data.max_length=6",
    "split.pretrained=tiny",
    "split.num_classes=3",
    "rounds=1",
    "threads=1",
    "client.local_steps=2",
    "client.batch_size=4",
)
"""Of the recipe `sst2-minilm`, for this table and this encoder."""


def make_world(root: Path, dropout: float = 0.0) -> Path:
    """Write the folders `data` and `models`; return the former."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    save("bert", root / "models" / "tiny")
    config = root / "models" / "tiny" / "config.json"
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config.write_text(json.dumps(json.loads(config.read_text()) | drops))
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<none>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<none>").save_pretrained(
        root / "models" / "tiny"
    )
    (root / "data" / "own").mkdir(parents=True)
    (root / "data" / "own" / "reviews.csv").write_text("review,stars\n" + "".join(f"{a},{b}\n" for a, b in TABLE))
    return root / "data"
