"""The programs that this project began with run with only the import changed.

Each is the text of a program as people wrote it; what it leaves out (data, an optimiser) is given
by the test, and the one name it loads leads to a tiny folder of that name in the working folder.
"""

import re

import pytest
import torch

import regard

WORDS = "the a film is was good great bad awful dull story we it not very and see again"
GOOD = ["the film is good", "a great story", "we see it again , very good", "great and good film"]
BAD = ["the film is awful", "a dull story", "it was not good , very bad", "bad and awful film"]

LOADING = """
from transformers import BertTokenizer, BertModel

tokenizer = BertTokenizer.from_pretrained('bert-base-uncased')
model = BertModel.from_pretrained('bert-base-uncased')
"""

FINE_TUNING = """
from transformers import BertForSequenceClassification, Trainer, TrainingArguments

model = BertForSequenceClassification.from_pretrained('bert-base-uncased')

training_args = TrainingArguments(
    output_dir='./results',
    num_train_epochs=3,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=16,
    logging_dir='./logs',
)

trainer = Trainer(
    model=model,
    args=training_args,
    train_dataset=train_dataset,
    eval_dataset=eval_dataset,
)

trainer.train()
"""

SIZES = """
from transformers import BertConfig, BertModel

config = BertConfig(
    vocab_size=30522,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
)

with torch.device("meta"):
    model = BertModel(config)
"""

LENGTHS = """
from transformers import BertTokenizer

tokenizer = BertTokenizer.from_pretrained('bert-base-uncased')
inputs = tokenizer(text, padding='max_length', truncation=True, max_length=512)
"""

#: The plain loop; its optimiser, which the text forgot, is given.
LOOP = """
from transformers import BertTokenizer, BertForSequenceClassification
from torch.utils.data import DataLoader

tokenizer = BertTokenizer.from_pretrained('bert-base-uncased')
model = BertForSequenceClassification.from_pretrained('bert-base-uncased')
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

train_loader = DataLoader(train_dataset, batch_size=32, shuffle=True)
test_loader = DataLoader(test_dataset, batch_size=32, shuffle=False)

model.train()
for _ in range(30):
    for batch in train_loader:
        texts, labels = batch
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors='pt')
        outputs = model(**inputs, labels=labels)
        loss = outputs.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

model.eval()
with torch.no_grad():
    correct = 0
    total = 0
    for batch in test_loader:
        texts, labels = batch
        inputs = tokenizer(list(texts), padding=True, truncation=True, return_tensors='pt')
        outputs = model(**inputs)
        _, predicted = torch.max(outputs.logits, 1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()

accuracy = 100 * correct / total
"""

#: As it stands in the text: pictures of digits to BERT.
PICTURES_TO_BERT = """
from transformers import BertForSequenceClassification
from torch.utils.data import DataLoader

model = BertForSequenceClassification.from_pretrained('bert-base-uncased')
train_loader = DataLoader(train_dataset, batch_size=32, shuffle=True)

model.train()
for batch in train_loader:
    inputs, labels = batch
    outputs = model(inputs)
"""

#: And with a model that reads pictures.
PICTURES = """
from transformers import ViTConfig, ViTForImageClassification
from torch.utils.data import DataLoader

model = ViTForImageClassification(ViTConfig(**sizes))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
train_loader = DataLoader(train_dataset, batch_size=32, shuffle=True)

model.train()
for _ in range(20):
    for batch in train_loader:
        inputs, labels = batch
        outputs = model(inputs, labels=labels)
        loss = outputs.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

model.eval()
with torch.no_grad():
    correct = 0
    total = 0
    for batch in train_loader:
        inputs, labels = batch
        outputs = model(inputs)
        _, predicted = torch.max(outputs.logits, 1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()

accuracy = 100 * correct / total
"""


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_bert):
    """Return what runs a program with only its import changed."""
    monkeypatch.chdir(tmp_path)

    def runs(program, **given):
        ours, count = re.subn("from transformers import", "from regard import", program)
        assert count == 1
        names = {"torch": torch, **given}
        exec(compile(ours, "program", "exec"), names)
        return names

    return runs


@pytest.fixture
def tiny_bert(tmp_path):
    """Write a tiny BERT with its words to the folder that the programs name."""
    folder = tmp_path / "bert-base-uncased"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", *WORDS.split()]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    torch.manual_seed(0)
    config = regard.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    regard.BertModel(config).save_pretrained(folder)


def reviews(times):
    return [
        (text, label) for _ in range(times) for label, ts in enumerate((BAD, GOOD)) for text in ts
    ]


def digits():
    """Return pictures of 28 by 28 in which a bar is as wide as the label says."""
    torch.manual_seed(0)
    pairs = []
    for number in range(96):
        picture = torch.rand(1, 28, 28) * 0.2
        label = number % 4
        picture[0, :, : 7 * label] += 0.8
        pairs.append((picture, label))
    return pairs


def test_loading(run):
    names = run(LOADING)
    ids = names["tokenizer"]("A great film", return_tensors="pt")
    assert names["model"](**ids).last_hidden_state.shape == (1, 5, 32)


def test_fine_tuning(run, tmp_path):
    tokenizer = regard.BertTokenizer.from_pretrained("bert-base-uncased")
    train = [
        {**tokenizer(t, padding="max_length", max_length=12), "label": y} for t, y in reviews(6)
    ]
    names = run(FINE_TUNING, train_dataset=train, eval_dataset=train[:8])
    assert names["trainer"].state.global_step == 9
    assert names["trainer"].state.log_history[-1]["train_loss"] < 0.75
    assert (tmp_path / "results" / "checkpoint-9" / "model.safetensors").is_file()
    assert "eval_loss" in names["trainer"].evaluate()


def test_fine_tuning_learns_what_longer_training_does(run):
    tokenizer = regard.BertTokenizer.from_pretrained("bert-base-uncased")
    train = [{**tokenizer(t), "label": y} for t, y in reviews(6)]
    longer = FINE_TUNING.replace("epochs=3", "epochs=20, learning_rate=2e-3")
    longer = longer.replace("eval_dataset=eval", "tokenizer=tokenizer, eval_dataset=eval")
    names = run(longer, train_dataset=train, eval_dataset=train[:8], tokenizer=tokenizer)
    found = names["trainer"].predict(train)
    assert (found.predictions.argmax(-1) == found.label_ids).mean() == 1.0


def test_sizes(run):
    assert run(SIZES)["model"].num_parameters() == 109_482_240


def test_lengths(run):
    inputs = run(LENGTHS, text=["a film", "good " * 600])["inputs"]
    assert [len(row) for row in inputs["input_ids"]] == [512, 512]
    assert [sum(row) for row in inputs["attention_mask"]] == [4, 512]


def test_the_plain_loop(run):
    names = run(LOOP, train_dataset=reviews(8), test_dataset=reviews(1))
    assert names["accuracy"] == 100


def test_pictures_are_no_text(run):
    with pytest.raises((TypeError, ValueError), match="input_ids") as error:
        run(PICTURES_TO_BERT, train_dataset=digits())
    assert "(32, 1, 28, 28)" in str(error.value)


def test_the_loop_on_pictures(run):
    sizes = {
        "image_size": 28,
        "patch_size": 7,
        "num_channels": 1,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_labels": 4,
    }
    names = run(PICTURES, train_dataset=digits(), sizes=sizes)
    assert names["accuracy"] > 90
