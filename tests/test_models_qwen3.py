"""Our Qwen3 decoder against transformers' on small random weights, and how its weights come out of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.checkpoints.qwen3 import load_decoder
from acestep.devices import CPU
from acestep.errors import WeightsError
from acestep.memory import RESIDENT, PeakMeter
from acestep.models.packed import Linear, can_pack, usual_rows
from acestep.models.qwen3 import Cache, Pieces, Qwen3Decoder, Qwen3Sizes, Step

HOST = torch.device(CPU)
SIZES = Qwen3Sizes(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    head_dim=24,
    vocab_size=300,
    max_position_embeddings=512,
    rope_theta=5_000.0,
)
NEAR = 1e-5  # of the largest logit, if that is above 1
Change = Callable[[dict[str, object]], object]


def as_config(sizes: Qwen3Sizes, **changes: object) -> dict[str, object]:
    values = {name: getattr(sizes, name) for name in Qwen3Sizes.__dataclass_fields__}
    return {"model_type": "qwen3", "tie_word_embeddings": True, **values, **changes}


def random_weights(sizes: Qwen3Sizes, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(shape, generator=generator) * shape[-1] ** -0.5).to(dtype)
        if len(shape) > 1
        else (1 + 0.3 * torch.randn(shape, generator=generator)).to(dtype)
        for name, shape in sizes.shapes()
    }


def save(folder: Path, weights: dict[str, Tensor], **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(as_config(SIZES, **changes)))
    return folder


@pytest.fixture(scope="module")
def reference() -> Qwen3ForCausalLM:
    network = Qwen3ForCausalLM(Qwen3Config(**as_config(SIZES))).eval()
    network.model.load_state_dict(random_weights(SIZES))
    network.model.embed_tokens.weight.data *= 4
    return network


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "packed"])
def ours(request: pytest.FixtureRequest, reference: Qwen3ForCausalLM) -> Qwen3Decoder:
    decoder = Qwen3Decoder(SIZES, lambda name: reference.model.state_dict()[name].clone())
    if request.param:
        decoder.settle([range(100, 300)])
    return decoder


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def texts(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, SIZES.vocab_size, (length,), generator=generator) for length in lengths]


def feed(ours: Qwen3Decoder, cache: Cache, rows: Sequence[int], pieces: Sequence[Tensor]) -> Tensor:
    starts, counts = [cache.lengths[row] for row in rows], [len(piece) for piece in pieces]
    hidden = ours(torch.cat(list(pieces)), Pieces(rows, starts, counts, ours.norm), cache)
    for row, count in zip(rows, counts, strict=True):
        cache.lengths[row] += count
    return hidden


def logits(ours: Qwen3Decoder, hidden: Tensor) -> Tensor:
    return torch.cat([ours.table.logits(hidden, range(100)), ours.table.logits(hidden, range(100, 300))], -1)


def assert_near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=NEAR * max(1.0, expected.abs().max().item()))


def test_rows_fed_in_ragged_pieces_give_the_logits_of_whole_texts(
    ours: Qwen3Decoder, reference: Qwen3ForCausalLM
) -> None:
    cuts = [(0, 1, 30, 31, 70), (0, 12, 13, 14, 15), (0, 40, 41, 50, 200)]
    whole = texts(70, 15, 200)
    cache, found = ours.new_cache(3, 200), [[], [], []]
    for part in range(4):
        pieces = [text[cut[part] : cut[part + 1]] for text, cut in zip(whole, cuts, strict=True)]
        hidden = feed(ours, cache, [0, 1, 2], pieces)
        for row, piece in enumerate(hidden.split([len(piece) for piece in pieces])):
            found[row].append(logits(ours, piece))
    for text, row in zip(whole, found, strict=True):
        assert_near(torch.cat(row), reference(text[None]).logits[0])


def test_a_step_for_all_rows_equals_a_step_row_by_row(ours: Qwen3Decoder, reference: Qwen3ForCausalLM) -> None:
    whole = texts(33, 8, 120)
    cache = ours.new_cache(3, 128)
    feed(ours, cache, [0, 1, 2], [text[:-1] for text in whole])
    cache.keys[:, 1, :, 8:] = 1e4  # what stands behind a row's end is never looked at
    cache.values[:, 1, :, 8:] = 1e4
    last = torch.stack([text[-1] for text in whole])
    step = Step(torch.tensor(cache.lengths), 125, ours.norm)
    together = logits(ours, ours(last, step, cache))
    alone = logits(ours, feed(ours, cache, [0, 1, 2], [text[-1:] for text in whole]))
    assert_near(together, alone)
    assert_near(together, torch.stack([reference(text[None]).logits[0, -1] for text in whole]))


def test_rows_that_are_taken_go_on_as_if_they_had_been_there(ours: Qwen3Decoder) -> None:
    first, second, more = texts(20, 31, 9)
    cache = ours.new_cache(2, 31)
    feed(ours, cache, [0, 1], [first, second])
    assert cache.take([0, 1]) is cache
    taken = cache.take([1, 0, 1], room=64)
    assert taken.lengths == [31, 20, 31] and taken.room == 64
    pieces = feed(ours, taken, [2, 1], [more, more]).split(9)
    alone = ours.new_cache(1, 64)
    assert_near(pieces[0], feed(ours, alone, [0], [torch.cat((second, more))])[31:])
    assert taken.lengths == [31, 29, 40]


def test_logits_of_some_tokens_are_those_of_all(ours: Qwen3Decoder) -> None:
    hidden = torch.randn(2, SIZES.hidden_size, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([0, 7, 120, 299])
    assert_near(ours.table.logits_of(hidden, tokens), logits(ours, hidden)[:, tokens])


def test_bfloat16_rounds_like_the_reference(reference: Qwen3ForCausalLM) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in reference.model.state_dict().items()}
    (text,) = texts(60)
    exact = reference(text[None]).logits[0]
    theirs = Qwen3ForCausalLM(reference.config).bfloat16().eval()
    theirs.model.load_state_dict(weights)
    decoder = Qwen3Decoder(SIZES, weights.__getitem__)
    decoder.settle([range(100, 300)])
    cache = decoder.new_cache(1, 60)
    found = torch.cat(
        [logits(decoder, feed(decoder, cache, [0], [piece])) for piece in (text[:30], text[30:31], text[31:])]
    )
    error, their_error = (
        (each.float() - exact).square().mean().sqrt() for each in (found, theirs(text[None]).logits[0])
    )
    assert 0 < error <= 1.2 * their_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 2, 8, 70])
def test_a_packed_weight_multiplies_like_a_plain_one(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    plain_weight, x = (torch.randn(size, 96, generator=generator).to(dtype) for size in (130, rows))
    packed = Linear(plain_weight)
    plain = packed(x)
    packed.settle()
    packed.settle()
    assert (len(packed.weight) == 0) is can_pack(plain_weight)
    exact = x.double() @ plain_weight.double().T
    error, plain_error = ((each.double() - exact).abs().max() for each in (packed(x), plain))
    assert error <= max(1.5 * plain_error, 1e-5)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_files_in_both_spellings_load(tmp_path: Path, prefix: str, reference: Qwen3ForCausalLM) -> None:
    weights = reference.model.state_dict()
    folder = save(tmp_path, {prefix + name: tensor.contiguous() for name, tensor in weights.items()})
    loaded = load_decoder(folder, torch.float32, HOST)
    (text,) = texts(40)
    found = logits(loaded, feed(loaded, loaded.new_cache(1, 40), [0], [text]))
    assert_near(found, reference(text[None]).logits[0])
    assert loaded.sizes == SIZES


def drop(weights: dict[str, Tensor]) -> None:
    del weights["layers.1.mlp.up_proj.weight"]
    weights["lm_head.weight"] = torch.zeros(300, 64)
    weights["norm.weight"] = torch.zeros(65)


def spoil(weights: dict[str, Tensor]) -> None:
    weights["layers.2.self_attn.k_proj.weight"][3, 4] = torch.nan


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            drop,
            "1 tensor missing: layers.1.mlp.up_proj.weight; 1 tensor unexpected: lm_head.weight; "
            r"1 tensor of the wrong shape: norm.weight is \[65\]",
        ),
        (spoil, "NaN or infinity.*layers.2.self_attn.k_proj.weight"),
    ],
)
def test_files_with_other_tensors_are_refused(tmp_path: Path, change: Change, says: str) -> None:
    weights = random_weights(SIZES)
    change(weights)
    with pytest.raises(WeightsError, match=says):
        load_decoder(save(tmp_path, weights), torch.float32, HOST)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"attention_bias": True, "hidden_act": "gelu"}, "attention_bias=True, hidden_act='gelu'"),
        ({"rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_type='linear'"),
        ({"use_sliding_window": True, "sliding_window": 64}, "use_sliding_window=True"),
    ],
)
def test_networks_that_it_would_compute_wrongly_are_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(WeightsError, match=says):
        load_decoder(save(tmp_path, random_weights(SIZES), **changes), torch.float32, HOST)


@pytest.mark.parametrize(
    ("stored", "dtype"), [(torch.bfloat16, torch.bfloat16), (torch.bfloat16, torch.float32)], ids=str
)
def test_loading_and_packing_never_hold_a_second_copy(
    tmp_path: Path, stored: torch.dtype, dtype: torch.dtype
) -> None:
    sizes = replace(SIZES, hidden_size=512, intermediate_size=4096, num_hidden_layers=16, vocab_size=20_000)
    weights = random_weights(sizes, stored)
    whole = sum(tensor.numel() for tensor in weights.values()) * dtype.itemsize
    save(tmp_path, weights)
    (tmp_path / "config.json").write_text(json.dumps(as_config(sizes)))
    del weights
    load_decoder(tmp_path, dtype, HOST).settle([range(10)])  # code that is read for the first time takes memory, too
    meter = PeakMeter(HOST)
    with meter.measure("before"):
        pass
    with meter.measure("loading"):
        decoder = load_decoder(tmp_path, dtype, HOST)
        decoder.settle([range(18_000, 20_000)])
    before, loading = meter.peak.stages.values()
    assert meter.peak.measure == RESIDENT
    assert loading - before <= 1.15 * whole
    assert decoder.table.weight.dtype is dtype


def test_packed_products_come_in_few_sizes() -> None:
    """oneDNN keeps half a megabyte for each: a planner that has read 300 lengths of prompt must not hold 160 MB."""
    sizes = [usual_rows(rows) for rows in range(1, 1025)]
    assert all(size >= rows for rows, size in enumerate(sizes, start=1))
    assert sizes[:8] == list(range(1, 9))
    assert len(set(sizes)) <= 20
