"""Tags of v1: ids as the published tokenizer makes them, UMT5 as it is described, the weakening of its queries."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from acestep.errors import InputError, WeightsError
from acestep.v1.text import TagEncoder, TagTokenizer

CONFIG = {
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 4,
    "num_heads": 3,
    "vocab_size": 60,
    "feed_forward_proj": "gated-gelu",
}
ERG_LAYERS = (1, 2)
PROMPT = "funk, pop, 105 BPM, <energetic>"


@pytest.fixture(scope="module")
def network() -> UMT5EncoderModel:
    torch.manual_seed(1)
    network = UMT5EncoderModel(UMT5Config(**CONFIG, attn_implementation="eager")).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.25 if parameter.dim() > 1 else 1.0))
    return network


@pytest.fixture(scope="module")
def encoder(network: UMT5EncoderModel) -> TagEncoder:
    return TagEncoder(network, ERG_LAYERS)


@pytest.fixture(scope="module")
def padded() -> tuple[Tensor, Tensor]:
    """Two prompts of 40 and 17 tokens, ``[2, 40]``; long enough for both kinds of distance buckets."""
    ids = torch.randint(3, 60, (2, 40), generator=torch.Generator().manual_seed(2))
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 17:] = False
    return ids.masked_fill(~mask, 0), mask


def unigram() -> Tokenizer:
    """A vocabulary of the published form: unigrams, spaces as a mark, bytes for what it does not know."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces += [("▁" + letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz"] + [("▁", -4.0)]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789,<>/"]
    pieces += [("▁funk", -7.0), ("▁pop", -7.5), ("energetic", -8.0), ("▁1", -6.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer


@pytest.mark.parametrize("text", [PROMPT, "", "naïve 東京", "a" * 250, "  two  spaces "])
def test_ids_are_those_of_transformers_and_end_with_the_end_marker(text: str) -> None:
    reference = PreTrainedTokenizerFast(tokenizer_object=unigram(), eos_token="</s>", pad_token="<pad>")
    ids = TagTokenizer(unigram())(text)
    assert ids == tuple(reference(text)["input_ids"])
    assert ids[-1] == 1
    assert ids.count(1) == 1


def test_an_empty_prompt_is_the_end_marker() -> None:
    assert TagTokenizer(unigram())("") == (1,)


@pytest.mark.parametrize(("text", "token"), [("funk</s>pop", "</s>"), ("<pad>", "<pad>"), ("＜/s＞", "</s>")])
def test_control_tokens_in_a_prompt_are_refused(text: str, token: str) -> None:
    """Unigrams know no other way to read them, in whatever form they are written."""
    with pytest.raises(InputError) as caught:
        TagTokenizer(unigram())(text)
    assert str(caught.value) == (f"Tokenization error: caption holds {token}, which is a control token; remove it.")
    assert caught.value.field == "caption"


def test_an_unknown_character_and_its_name_are_no_control_tokens() -> None:
    assert TagTokenizer(unigram())("<unk>")[-2:] == (2, 1)


def test_a_prompt_of_256_tokens_fits_and_one_more_does_not() -> None:
    tokenizer = TagTokenizer(unigram())
    assert len(tokenizer("a" * 255)) == 256
    with pytest.raises(InputError) as caught:
        tokenizer("a" * 259)
    assert caught.value.field == "caption"
    assert caught.value.value == 260
    assert str(caught.value) == (
        "Tokenization error: caption makes 260 tokens, the model reads at most 256; shorten it by about 4 tokens."
    )


def test_truncation_and_padding_of_an_exported_tokenizer_are_not_followed() -> None:
    exported = unigram()
    exported.enable_truncation(4)
    exported.enable_padding(length=9)
    assert TagTokenizer(exported)(PROMPT) == TagTokenizer(unigram())(PROMPT)


def test_a_vocabulary_without_end_marker_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"has no </s> token\.$"):
        TagTokenizer(Tokenizer(models.Unigram([("<unk>", 0.0)], unk_id=0)))


def test_the_size_counts_added_tokens() -> None:
    tokenizer = unigram()
    assert TagTokenizer(tokenizer).size == 3 + 256 + 26 + 1 + 40 + 4
    tokenizer.add_special_tokens(["<extra_id_0>"])
    assert TagTokenizer(tokenizer).size == 331


def test_states_are_those_of_transformers(
    network: UMT5EncoderModel, encoder: TagEncoder, padded: tuple[Tensor, Tensor]
) -> None:
    ids, mask = padded
    reference = network(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert torch.equal(encoder(ids, mask), reference)
    assert reference.shape == (2, 40, 24)


@pytest.mark.parametrize("weaken", [False, True])
def test_states_are_those_of_an_encoder_written_down_slowly(
    network: UMT5EncoderModel, encoder: TagEncoder, padded: tuple[Tensor, Tensor], weaken: bool
) -> None:
    ids, mask = padded
    weights = {name: tensor.double() for name, tensor in network.state_dict().items()}
    for row, length in enumerate(mask.sum(1).tolist()):
        slow = slow_encoder(weights, ids[row, :length].tolist(), ERG_LAYERS if weaken else ())
        fast = encoder(ids, mask, weaken=weaken)[row, :length].double()
        assert (fast - slow).abs().max() <= 1e-5 * max(1.0, slow.abs().max().item())


def test_weakening_is_a_hundredth_of_the_query_weights_of_those_layers(
    network: UMT5EncoderModel, encoder: TagEncoder, padded: tuple[Tensor, Tensor]
) -> None:
    """The projections have no bias, so scaling what they return is scaling their weights."""
    ids, mask = padded
    scaled = copy.deepcopy(network)
    for layer in ERG_LAYERS:
        scaled.encoder.block[layer].layer[0].SelfAttention.q.weight.mul_(0.01)
    plain, weak = encoder(ids, mask), encoder(ids, mask, weaken=True)
    torch.testing.assert_close(weak, TagEncoder(scaled, ())(ids, mask), rtol=1e-5, atol=1e-5)
    assert (weak - plain)[mask].abs().max() > 0.1
    assert torch.equal(encoder(ids, mask), plain)  # nothing of it stays


def test_nothing_of_the_weakening_stays_after_an_error(encoder: TagEncoder, padded: tuple[Tensor, Tensor]) -> None:
    ids, mask = padded
    plain = encoder(ids, mask)
    with pytest.raises(IndexError):
        encoder(ids + 60, mask, weaken=True)
    assert torch.equal(encoder(ids, mask), plain)


@pytest.mark.parametrize("layers", [(0, 4), (-1,)])
def test_layers_that_the_network_lacks_are_refused(network: UMT5EncoderModel, layers: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match=r"^erg_tag_layers \[.*\] are to be weakened, the network has 4\.$"):
        TagEncoder(network, layers)


def test_padding_is_seen_by_no_token(encoder: TagEncoder, padded: tuple[Tensor, Tensor]) -> None:
    ids, mask = padded
    alone = encoder(ids[1:, :17], mask[1:, :17])
    torch.testing.assert_close(encoder(ids, mask)[1:, :17], alone, rtol=1e-5, atol=1e-5)


def test_states_have_the_type_of_the_weights(network: UMT5EncoderModel, padded: tuple[Tensor, Tensor]) -> None:
    half = TagEncoder(copy.deepcopy(network).bfloat16(), ERG_LAYERS)
    assert half(*padded, weaken=True).dtype is torch.bfloat16


def slow_encoder(weights: dict[str, Tensor], ids: list[int], weakened: tuple[int, ...]) -> Tensor:
    """One prompt through the encoder, token by token and head by head, ``[T, D]``."""
    tokens = [weights["shared.weight"][one] for one in ids]
    for layer in range(CONFIG["num_layers"]):
        here = f"encoder.block.{layer}.layer"
        normed = [rms(token, weights[f"{here}.0.layer_norm.weight"]) for token in tokens]
        strength = 0.01 if layer in weakened else 1.0
        tokens = [
            token + heard
            for token, heard in zip(
                tokens, slow_attention(weights, f"{here}.0.SelfAttention", normed, strength), strict=True
            )
        ]
        normed = [rms(token, weights[f"{here}.1.layer_norm.weight"]) for token in tokens]
        dense = f"{here}.1.DenseReluDense"
        tokens = [token + slow_dense(weights, dense, one) for token, one in zip(tokens, normed, strict=True)]
    return torch.stack([rms(token, weights["encoder.final_layer_norm.weight"]) for token in tokens])


def slow_attention(weights: dict[str, Tensor], here: str, tokens: list[Tensor], strength: float) -> list[Tensor]:
    """Softmax attention with a learned bias per distance and head; scores are not divided by the width's root."""
    query = [strength * (weights[f"{here}.q.weight"] @ token) for token in tokens]
    key = [weights[f"{here}.k.weight"] @ token for token in tokens]
    value = [weights[f"{here}.v.weight"] @ token for token in tokens]
    bias = weights[f"{here}.relative_attention_bias.weight"]
    width, heard = CONFIG["d_kv"], []
    for at in range(len(tokens)):
        heads = []
        for head in range(CONFIG["num_heads"]):
            part = slice(head * width, (head + 1) * width)
            scores = torch.stack(
                [query[at][part] @ key[to][part] + bias[bucket(to - at), head] for to in range(len(tokens))]
            )
            shares = scores.softmax(0)
            heads.append(sum(share * one[part] for share, one in zip(shares, value, strict=True)))
        heard.append(weights[f"{here}.o.weight"] @ torch.cat(heads))
    return heard


def slow_dense(weights: dict[str, Tensor], here: str, token: Tensor) -> Tensor:
    """GELU in its tanh form gates a second projection."""
    gate = weights[f"{here}.wi_0.weight"] @ token
    gate = 0.5 * gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    return weights[f"{here}.wo.weight"] @ (gate * (weights[f"{here}.wi_1.weight"] @ token))


def rms(token: Tensor, scale: Tensor) -> Tensor:
    return scale * token / torch.sqrt((token**2).mean() + 1e-6)


def bucket(distance: int) -> int:
    """Of 32: half for each direction, of these half exact and half logarithmic up to 128."""
    side, steps = (16 if distance > 0 else 0), abs(distance)
    if steps < 8:
        return side + steps
    return side + min(8 + int(math.log(steps / 8) / math.log(128 / 8) * 8), 15)
