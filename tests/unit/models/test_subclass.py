"""Models of your own, over ours or from nothing, train, save and load like ours."""

import torch
from torch import nn

import regard
from regard.layers.blocks import PreNormLayer, Stack
from regard.layers.feed_forward import GatedFeedForward

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 10,
}
IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


class Rated(regard.BertPreTrainedModel):
    """A BERT that also reads a number per text."""

    def __init__(self, config):
        super().__init__(config)
        self.bert = regard.BertModel(config)
        self.rating = nn.Linear(config.hidden_size + 1, 1)
        self.scale = nn.Parameter(torch.full((1,), 3.0))
        self.register_buffer("steps", torch.arange(4.0), persistent=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, age=None, labels=None):
        pooled = self.bert(input_ids, attention_mask=attention_mask).pooler_output
        score = self.scale * self.rating(torch.cat([pooled, age[:, None]], -1))[:, 0]
        loss = None if labels is None else (score - labels).square().mean()
        return {"loss": loss, "score": score + self.steps.sum() * 0}


class WordBagConfig(regard.Config):
    """Sizes of a model that has nothing of ours inside."""

    model_type = "word-bag"

    vocab_size: int = 40
    hidden_size: int = 8
    initializer_range: float = 0.5


class WordBag(regard.PreTrainedModel):
    """Mean of word vectors."""

    config_class = WordBagConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids):
        return self.out(self.words(input_ids).mean(1))


class Extended(regard.BertForSequenceClassification):
    """One of our heads with a layer more."""

    def __init__(self, config):
        super().__init__(config)
        self.extra = nn.Linear(config.num_labels, config.num_labels)
        self.post_init()

    def logits(self, batch):
        return self.extra(super().logits(batch))


def test_own_head_and_inputs_over_a_plain_checkpoint(tmp_path, caplog):
    torch.manual_seed(0)
    regard.BertModel(regard.BertConfig(**SIZES)).save_pretrained(tmp_path / "plain")
    model = Rated.from_pretrained(tmp_path / "plain")
    assert "new and random until trained: scale, rating.weight, rating.bias" in caplog.text
    assert model.scale.tolist() == [3.0]  # what the constructor says, not what memory held
    assert model.steps.tolist() == [0, 1, 2, 3]
    age, labels = torch.tensor([1.0, -1.0]), torch.tensor([0.5, 2.0])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        loss = model(IDS, age=age, labels=labels)["loss"]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    model.save_pretrained(tmp_path / "own")
    again = Rated.from_pretrained(tmp_path / "own")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    # Weights mapped from a file lie otherwise in memory, so sums may differ in the last bit.
    assert torch.allclose(again(IDS, age=age)["score"], model(IDS, age=age)["score"], atol=1e-6)
    # The base inside is an ordinary BERT on disk.
    assert regard.BertModel.from_pretrained(tmp_path / "own").num_parameters() > 0


def test_a_model_from_nothing(tmp_path):
    torch.manual_seed(0)
    model = WordBag(WordBagConfig(num_labels=3))
    model.save_pretrained(tmp_path)
    again = WordBag.from_pretrained(tmp_path)
    assert torch.equal(again(IDS), model(IDS))
    assert again.config.num_labels == 3


def test_one_of_our_heads_with_a_layer_more(tmp_path):
    torch.manual_seed(0)
    model = Extended(regard.BertConfig(**SIZES, num_labels=3)).eval()
    model.save_pretrained(tmp_path)
    again = Extended.from_pretrained(tmp_path)
    labels = torch.tensor([0, 2])
    assert torch.equal(again(IDS, labels=labels).loss, model(IDS, labels=labels).loss)
    plain = regard.BertForSequenceClassification.from_pretrained(tmp_path)
    assert not torch.equal(plain(IDS).logits, model(IDS).logits)


def test_two_bases_side_by_side(tmp_path):
    class Towers(regard.PreTrainedModel):
        config_class = regard.BertConfig

        def __init__(self, config):
            super().__init__(config)
            self.left = regard.BertModel(config, add_pooling_layer=False)
            self.right = regard.BertModel(config)

        def forward(self, input_ids):
            left = self.left(input_ids).last_hidden_state[:, 0]
            return (left * self.right(input_ids).pooler_output).sum(-1)

    torch.manual_seed(0)
    model = Towers(regard.BertConfig(**SIZES)).eval()
    model.save_pretrained(tmp_path)
    assert torch.equal(Towers.from_pretrained(tmp_path)(IDS), model(IDS))


def test_pre_norm_and_gated_blocks_make_a_model():
    from regard.attention.attention import Attention

    torch.manual_seed(0)
    layers = [
        PreNormLayer(
            Attention(16, 4), GatedFeedForward(16, 24, "silu"), (nn.LayerNorm(16), nn.LayerNorm(16))
        )
        for _ in range(2)
    ]
    stack = Stack(layers, nn.LayerNorm(16))
    layout = regard.Layout.from_lengths([3, 5])
    hidden = torch.randn(8, 16)
    found = stack(hidden, layout)
    x = hidden
    for layer in layers:
        x = x + layer.attention(layer.attention_norm(x), layout)
        normed = layer.feed_forward_norm(x)
        ff = layer.feed_forward
        gate = nn.functional.silu(normed @ ff.gate.weight.T)
        x = x + (gate * (normed @ ff.up.weight.T)) @ ff.down.weight.T
    assert torch.allclose(found, stack.norm(x), atol=1e-6)
