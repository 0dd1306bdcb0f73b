"""Low-rank adapters: what is read of a file, what it changes, how exactly it is taken back, what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acestep.devices import Residency
from acestep.errors import InputError, UnsupportedError
from acestep.v1.adapter_source import AdapterFile
from acestep.v1.adapters import Adapters
from acestep.v1.lora import Adapter, Pair, kept, merge, restore
from acestep.v1.lora_file import read_adapter
from acestep.v1.transformer import DEAD

from v1_adapter_support import RANK, STYLES, Pairs, Small, bits, expected, on_disk, random_pairs, saved
from v1_networks_support import random_transformer

Q, OUT = "transformer_blocks.0.attn.to_q", "transformer_blocks.1.attn.to_out.0"
CONV, IMAGE, SPEAKER = "transformer_blocks.0.point_conv", "proj_in", "speaker_embedder"


def close(network: nn.Module, pairs: Pairs, before: dict[str, Tensor], scale: float) -> None:
    """Every weight is what the second opinion says, to a few roundings of fp32."""
    after = network.state_dict()
    for name, weight in before.items():
        module = name.removesuffix(".weight")
        wanted = expected(weight, pairs[module], scale) if module in pairs else weight.double().numpy()
        np.testing.assert_allclose(after[name].double().numpy(), wanted, rtol=1e-5, atol=1e-5 * max(1.0, abs(scale)))


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("style", STYLES)
def test_every_spelling_of_names_means_the_same(tmp_path: Path, style: str) -> None:
    network = Small()
    before, pairs = copied(network), random_pairs(network)
    merged = merge(network, read_adapter(saved(tmp_path / "a.safetensors", pairs, style)), 0.7)
    assert (merged.matched, merged.dead, merged.unmatched, merged.warnings) == (len(pairs), 0, (), ())
    assert len(pairs) == 8
    close(network, pairs, before, 0.7)


ALPHAS: dict[str, tuple[object, float]] = {
    "nothing": (None, 1.0),
    "alpha": ({"r": RANK, "lora_alpha": 8}, 8 / RANK),
    "rank-stabilised": ({"r": RANK, "lora_alpha": 32, "use_rslora": True}, 32 / math.sqrt(RANK)),
    "diffusers": ({"transformer.lora_alpha": 2, "transformer.use_rslora": False}, 2 / RANK),
    "of another network": ({"text_encoder.lora_alpha": 2}, 1.0),
    "no alpha": ({"r": RANK, "alpha_pattern": {}, "lora_alpha": None}, 1.0),
    "a pattern that is not ours": ({"lora_alpha": 8, "alpha_pattern": {"to_k": 1}}, 8 / RANK),
    "a pattern": ({"lora_alpha": 8, "alpha_pattern": {"to_k": 1, "to_q": 12}}, 12 / RANK),
    "the whole name": ({"alpha_pattern": {f"transformer.{Q}": 12}}, 12 / RANK),
    "half a word": ({"lora_alpha": 8, "alpha_pattern": {"o_q": 12}}, 8 / RANK),
}


@pytest.mark.parametrize("stated", ALPHAS)
def test_the_scale_is_what_the_header_states(tmp_path: Path, stated: str) -> None:
    settings, scale = ALPHAS[stated]
    network = Small()
    before, pairs = copied(network), random_pairs(network, Q)
    merge(network, read_adapter(saved(tmp_path / "a.safetensors", pairs, stated=settings)), 0.5)
    close(network, pairs, before, 0.5 * scale)


@pytest.mark.parametrize(("style", "prefix"), [("bare", ""), ("comfy", "diffusion_model.")])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_tensor_of_alpha_goes_before_the_header(
    tmp_path: Path, style: str, prefix: str, shape: tuple[int, ...]
) -> None:
    network = Small()
    before, pairs = copied(network), random_pairs(network, Q)
    extra = {f"{prefix}{Q}.alpha": torch.full(shape, 3.0)}
    adapter = read_adapter(saved(tmp_path / "a.safetensors", pairs, style, extra=extra, stated={"lora_alpha": 100}))
    assert merge(network, adapter, 1.0).warnings == ()
    close(network, pairs, before, 3.0 / RANK)


@pytest.mark.parametrize(("name", "scale"), [("adapter_model", 6 / RANK), ("pytorch_lora_weights", 1.0)])
def test_the_settings_of_peft_belong_to_its_own_file(tmp_path: Path, name: str, scale: float) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 6}))
    network = Small()
    before, pairs = copied(network), random_pairs(network, Q)
    merge(network, read_adapter(saved(tmp_path / f"{name}.safetensors", pairs)), 1.0)
    close(network, pairs, before, scale)


def test_a_merged_network_computes_what_the_pairs_would_beside_it(tmp_path: Path) -> None:
    network, x = Small(), torch.randn(2, 8, generator=torch.Generator().manual_seed(5))
    pairs = random_pairs(network)
    song, picture = torch.randn(2, 8, 9), torch.randn(2, 3, 7, 5)
    layers: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
        Q: (nn.functional.linear, x),
        SPEAKER: (nn.functional.linear, x[:, :6]),
        CONV: (nn.functional.conv1d, song),
        IMAGE: (nn.functional.conv2d, picture),
    }
    plain = {module: network.get_submodule(module)(values) for module, (_, values) in layers.items()}
    merge(network, read_adapter(saved(tmp_path / "a.safetensors", pairs)), 1.5)
    for module, (layer, values) in layers.items():
        down, up = pairs[module]
        beside = plain[module] + 1.5 * layer(layer(values, down), up)
        torch.testing.assert_close(network.get_submodule(module)(values), beside, rtol=1e-4, atol=1e-4)


def test_the_networks_own_adapter_is_matched_whole_and_heard(tmp_path: Path) -> None:
    """The modules that the published adapter of this family changes, of a small network of the family."""
    network = random_transformer()
    targets = ("speaker_embedder", "linear_q", "linear_k", "linear_v", "to_q", "to_k", "to_v", "to_out.0")
    modules = [name for name, _ in network.named_modules() if name.endswith(targets)]
    layers = len(network.transformer_blocks)
    assert len(modules) == 1 + 3 * len(network.lyric_encoder.encoders) + 8 * layers  # 211 of the published size
    pairs = {module: (0.1 * down, up) for module, (down, up) in random_pairs(network, *modules).items()}
    dead = {f"transformer_blocks.{layer}.cross_attn.add_q_proj": pairs[modules[-1]] for layer in range(layers)}
    adapters, before = Adapters(network, dead=DEAD), bits(network)
    plain = velocity(network)
    merged = adapters.use(saved(tmp_path / "a.safetensors", pairs | dead), 1.0)
    assert merged is not None
    assert (merged.matched, merged.dead, merged.unmatched, merged.warnings) == (len(modules), layers, (), ())
    heard = velocity(network)
    assert torch.isfinite(heard).all()
    assert (heard - plain).abs().max() > 1e-3
    assert adapters.use(None) is None
    assert bits(network) == before
    assert torch.equal(velocity(network), plain)


def velocity(network: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    text = torch.randn((1, 3, 20), generator=generator)
    ids = torch.tensor([[3, 7, 9, 1]])
    context, mask = network.encode(text, torch.ones(1, 3, dtype=torch.bool), ids, torch.ones_like(ids).bool())
    latents = torch.randn((1, 8, 16, 5), generator=generator)
    return network(latents, torch.tensor([0.6]), network.cross_cache(context), mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(tmp_path: Path, dtype: torch.dtype) -> None:
    network = Small().to(dtype)
    before, pairs = copied(network), random_pairs(network)
    merge(network, read_adapter(saved(tmp_path / "a.safetensors", pairs)), 0.01)
    for module, halves in pairs.items():
        after = network.get_submodule(module).weight
        assert after.dtype is dtype
        wanted = expected(before[f"{module}.weight"], halves, 0.01)
        half_a_step = torch.finfo(dtype).eps / 2
        assert (np.abs(after.double().numpy() - wanted) <= half_a_step * np.abs(wanted) + 1e-6).all()


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_bit_comes_back_whatever_was_played(tmp_path: Path, stored: torch.dtype, dtype: torch.dtype) -> None:
    network = Small().to(stored).to(dtype)
    first = saved(tmp_path / "first.safetensors", random_pairs(network))
    second = saved(tmp_path / "second.safetensors", random_pairs(network, Q, CONV, seed=9))
    before, adapters = bits(network), Adapters(network)
    adapters.use(first, 1.0)
    with_first = bits(network)
    adapters.use(second, 0.3)
    with_second = bits(network)
    assert len({hashlib.sha256(repr(state).encode()).digest() for state in (before, with_first, with_second)}) == 3
    for _ in range(3):
        adapters.use(None)
        assert bits(network) == before
        adapters.use(first, 1.0)  # the same again, after none: it is played
        assert bits(network) == with_first
        adapters.use(second, 0.3)
        assert bits(network) == with_second
    adapters.use(None)
    assert bits(network) == before


def test_what_was_mapped_stays_mapped_and_the_checkpoint_untouched(tmp_path: Path) -> None:
    checkpoint = tmp_path / "network.safetensors"
    save_file(Small().state_dict(), checkpoint)
    digest = hashlib.sha256(checkpoint.read_bytes()).digest()
    network = Small(seed=1)
    network.load_state_dict(load_file(checkpoint), assign=True)
    places = {name: parameter.data_ptr() for name, parameter in network.named_parameters()}
    merged = merge(network, read_adapter(saved(tmp_path / "a.safetensors", random_pairs(network, Q))), 1.0)
    assert {name: tensor.data_ptr() for name, tensor in merged.originals.items()} == {
        f"{Q}.weight": places[f"{Q}.weight"]
    }
    assert network.get_parameter(f"{Q}.weight").data_ptr() != places[f"{Q}.weight"]
    restore(network, merged.originals)
    assert {name: parameter.data_ptr() for name, parameter in network.named_parameters()} == places
    assert hashlib.sha256(checkpoint.read_bytes()).digest() == digest


def test_what_was_widened_is_kept_narrow() -> None:
    values = torch.tensor([1.0, -0.0, 1e-40, -3.4e38, 2.0**-133]).bfloat16()
    assert kept(values.float()).dtype is torch.bfloat16
    assert torch.equal(kept(values.float()).view(torch.int16), values.view(torch.int16))
    precise = torch.tensor([1.0, 1.0 + 2.0**-20])
    assert kept(precise).data_ptr() == precise.data_ptr()
    assert kept(values).data_ptr() == values.data_ptr()


def test_the_same_again_reads_nothing_and_another_weight_does(tmp_path: Path) -> None:
    network = Small()
    file = saved(tmp_path / "a.safetensors", random_pairs(network))
    adapters = Adapters(network)
    merged = adapters.use(file, 1.0)
    state = bits(network)
    file.path.unlink()
    assert adapters.use(file, 1.0) is merged
    with pytest.raises(InputError, match="lora_name_or_path: 'a' is missing"):
        adapters.use(file, 0.5)
    assert bits(network) == state  # the one before still plays
    assert adapters.current is merged


def test_a_restoring_that_was_cancelled_is_done_by_the_next_call(tmp_path: Path) -> None:
    class Cancelled(BaseException):
        pass

    class Cancelling(nn.Linear):
        """A module whose weight cannot be put back while ``armed``."""

        armed = False

        def __setattr__(self, name: str, value: object) -> None:
            if self.armed and name == "weight":
                raise Cancelled
            super().__setattr__(name, value)

    network = Small()
    network.transformer_blocks[1]["attn"]["to_out"][0] = Cancelling(8, 8).requires_grad_(
        False
    )  # the last in the file
    before, adapters = bits(network), Adapters(network)
    file = saved(tmp_path / "a.safetensors", random_pairs(network, Q, SPEAKER, OUT))
    adapters.use(file, 1.0)
    played = bits(network)
    for wanted, state in ((None, before), (file, played)):
        adapters.use(file, 1.0)
        Cancelling.armed = True
        with pytest.raises(Cancelled):
            adapters.use(None)
        Cancelling.armed = False
        assert bits(network) not in (before, played)
        adapters.use(wanted, 1.0)
        assert bits(network) == state


def test_a_weight_of_nothing_changes_nothing(tmp_path: Path) -> None:
    network = Small()
    before = bits(network)
    merge(network, read_adapter(saved(tmp_path / "a.safetensors", random_pairs(network))), 0.0)
    assert bits(network) == before


def test_a_merge_works_under_inference_mode(tmp_path: Path) -> None:
    network = Small()
    with torch.inference_mode():
        merge(network, read_adapter(saved(tmp_path / "a.safetensors", random_pairs(network, Q))), 1.0)
    weight = network.get_parameter(f"{Q}.weight")
    assert not weight.is_inference()
    assert not weight.requires_grad


@pytest.mark.parametrize("offload", [False, True])
def test_networks_that_move_play_their_adapter(tmp_path: Path, offload: bool) -> None:
    """A carrier that copies stands in for a GPU: what is on "the device" is never the host's own tensor."""
    network = Small()
    before = bits(network)
    file = saved(tmp_path / "a.safetensors", random_pairs(network))
    residency = Residency({"dit": network}, torch.device("cpu"), offload=offload, carry=torch.clone)
    adapters = Adapters(network)
    adapters.use(file, 1.0)
    with residency.resident("dit") as there:
        played = bits(there)
    assert played != before
    assert bits(network) == played
    adapters.use(None)
    with residency.resident("dit") as there:
        assert bits(there) == before


def test_modules_that_nobody_has_are_said_and_the_rest_is_played(tmp_path: Path) -> None:
    network = Small()
    before, pairs = copied(network), random_pairs(network, Q, OUT)
    strangers = {"text_encoder.layers.0": pairs[Q], "genre_embedder": pairs[Q], "blocks.1.cross.add_q": pairs[Q]}
    extra = {"logit_scale": torch.ones(1), "elsewhere.alpha": torch.ones(1)}
    adapter = read_adapter(saved(tmp_path / "mine.safetensors", pairs | strangers, extra=extra))
    merged = merge(network, adapter, 1.0, dead=("blocks.*.cross.add_*",))
    assert (merged.matched, merged.dead) == (2, 1)
    assert set(merged.unmatched) == {"text_encoder.layers.0", "genre_embedder"}
    assert merged.warnings == (
        "lora_name_or_path: 2 of the 5 modules of 'mine' are not played, such as 'genre_embedder'.",
        "lora_name_or_path: 2 of the 12 tensors of 'mine' are not played, such as 'elsewhere.alpha'.",
    )
    close(network, pairs, before, 1.0)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (
            {"layers.0.self_attn.q_proj": (torch.ones(2, 8), torch.ones(8, 2))},
            r"none of its 1 modules, such as 'layers.0.self_attn.q_proj', is one of "
            r"those that play here, such as 'transformer_blocks.0.attn.to_q'.$",
        ),
        ({"blocks.0.add_q": (torch.ones(2, 8), torch.ones(8, 2))}, "none of its 1 modules"),
        (
            {Q: (torch.ones(2, 9), torch.ones(8, 2)), OUT: (torch.ones(2, 8), torch.ones(8, 2))},
            rf"1 of its modules have another shape here, such as {Q}, which is \[8, 8\] and not \[8, 9\]",
        ),
        (
            {Q: (torch.ones(2, 8), torch.ones(9, 2))},
            rf"1 of its modules have another shape here, such as {Q}, .* not \[9, 8\]",
        ),
        ({CONV: (torch.ones(2, 8, 1), torch.ones(6, 2, 1))}, r".* which is \[6, 8, 3\] and not \[6, 8, 1\]"),
        ({CONV: (torch.ones(2, 8), torch.ones(6, 2))}, r".* which is \[6, 8, 3\] and not \[6, 8\]"),
    ],
    ids=["nothing in common", "dead alone", "another width", "another height", "another kernel", "no kernel"],
)
def test_an_adapter_of_another_model_is_refused_and_changes_nothing(tmp_path: Path, pairs: Pairs, says: str) -> None:
    network = Small()
    before = bits(network)
    with pytest.raises(
        UnsupportedError, match=f"^lora_name_or_path: 'a' is a LoRA of another model: {says}"
    ) as caught:
        merge(network, read_adapter(saved(tmp_path / "a.safetensors", pairs)), 1.0, dead=("blocks.*.add_*",))
    assert caught.value.field == "lora_name_or_path"
    assert bits(network) == before


def test_a_refused_adapter_leaves_none_in_the_place_of_the_one_before(tmp_path: Path) -> None:
    network = Small()
    before, adapters = bits(network), Adapters(network)
    adapters.use(saved(tmp_path / "a.safetensors", random_pairs(network)), 1.0)
    foreign = saved(tmp_path / "b.safetensors", {"layers.0": (torch.ones(2, 8), torch.ones(8, 2))})
    with pytest.raises(UnsupportedError, match="another model"):
        adapters.use(foreign, 1.0)
    assert adapters.current is None
    assert bits(network) == before


@pytest.mark.parametrize("alpha", [1e30, 3e38, 1e300], ids=str)
def test_an_adapter_too_strong_for_the_format_is_refused_whole(tmp_path: Path, alpha: float) -> None:
    network = Small()
    before = bits(network)
    pairs = random_pairs(network)
    pairs[OUT] = (1e9 * pairs[OUT][0], pairs[OUT][1])
    settings = {"alpha_pattern": {OUT: alpha}}
    adapter = read_adapter(saved(tmp_path / "a.safetensors", pairs, stated=settings))
    with pytest.raises(UnsupportedError, match=f"'a' makes a weight of {OUT} infinite at a weight of 2"):
        merge(network, adapter, 2.0)
    assert bits(network) == before


def test_whatever_breaks_a_merge_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = Small()
    before = bits(network)
    pairs = {module: Pair(*halves, 1.0) for module, halves in random_pairs(network, Q, OUT).items()}
    pairs[OUT] = Pair(pairs[OUT].down.to("meta"), pairs[OUT].up, 1.0)  # has no numbers: nothing can be computed
    with pytest.raises(NotImplementedError, match="meta"):
        merge(network, Adapter(AdapterFile("a", tmp_path, ""), pairs), 1.0)
    assert bits(network) == before


def pickled() -> bytes:
    file = io.BytesIO()
    torch.save({f"{Q}.lora_A.weight": torch.ones(2, 8)}, file)
    return file.getvalue()


def cut_short(tmp_path: Path) -> bytes:
    return saved(tmp_path / "whole.safetensors", random_pairs(Small())).path.read_bytes()[:-100]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda _: pickled(), "is a pickle, which is never loaded"),
        (lambda _: b"\x80\x04\x95" + bytes(50), "is a pickle, which is never loaded"),
        (lambda _: b"<!doctype html><html>sign in</html>", "is a web page"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a Git LFS pointer"),
        (cut_short, "is cut short"),
        (lambda _: b"", "is empty"),
        (lambda _: bytes(200), "is not a readable safetensors file"),
    ],
    ids=["zip of pickles", "pickle", "web page", "pointer", "cut short", "empty", "zeros"],
)
def test_files_that_are_none(tmp_path: Path, content: Callable[[Path], bytes], says: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content(tmp_path))
    network = Small()
    before = bits(network)
    with pytest.raises(InputError, match=f"^lora_name_or_path: 'a' {says}.*\\.$"):
        Adapters(network).use(on_disk(path), 1.0)
    assert bits(network) == before


HALVES = (torch.ones(2, 8), torch.ones(8, 2))
BROKEN: dict[str, tuple[dict[str, Tensor], object, str]] = {
    "one half": ({f"{OUT}.lora_A.weight": HALVES[0]}, None, f"1 tensor without its other half: {OUT}"),
    "NaN": ({f"{OUT}.lora_A.weight": HALVES[0] * math.nan, f"{OUT}.lora_B.weight": HALVES[1]}, None, "NaN or inf"),
    "infinity": ({f"{OUT}.lora_A.weight": HALVES[0], f"{OUT}.lora_B.weight": HALVES[1] / 0}, None, "NaN or infinity"),
    "two ranks": (
        {f"{OUT}.lora_A.weight": torch.ones(3, 8), f"{OUT}.lora_B.weight": HALVES[1]},
        None,
        rf"the halves of {OUT} do not go together: \[3, 8\] and \[8, 2\]",
    ),
    "no rank": (
        {f"{OUT}.lora_A.weight": torch.ones(0, 8), f"{OUT}.lora_B.weight": torch.ones(8, 0)},
        None,
        "do not go together",
    ),
    "vectors": ({f"{OUT}.lora_A.weight": torch.ones(2), f"{OUT}.lora_B.weight": torch.ones(2)}, None, "go together"),
    "a wide upper half": (
        {f"{CONV}.lora_A.weight": torch.ones(2, 8, 3), f"{CONV}.lora_B.weight": torch.ones(6, 2, 3)},
        None,
        "do not go together",
    ),
    "whole numbers": (
        {f"{OUT}.lora_A.weight": HALVES[0].to(torch.int8), f"{OUT}.lora_B.weight": HALVES[1]},
        None,
        "is of the type I8, which is none of BF16",
    ),
    "two spellings": ({f"transformer.{Q}.lora_down.weight": HALVES[0]}, None, "1 tensor in more than one spelling"),
    "an alpha that is a vector": ({f"{Q}.alpha": torch.ones(2)}, None, f"{Q}.alpha is not one finite number"),
    "an alpha that is no number": ({f"{Q}.alpha": torch.tensor(math.nan)}, None, "is not one finite number"),
    "no JSON": ({}, "{", "states its scale in a way that cannot be read"),
    "no object": ({}, [1], "states its scale in a way that cannot be read"),
    "an alpha in words": ({}, {"lora_alpha": "much"}, "states its scale in a way that cannot be read"),
    "an infinite alpha": ({}, '{"lora_alpha": 1e999}', "states its scale in a way that cannot be read"),
    "a giant alpha": ({}, f'{{"lora_alpha": 1{"0" * 400}}}', "states its scale in a way that cannot be read"),
    "patterns in a list": ({}, {"alpha_pattern": ["to_q"]}, "states its scale in a way that cannot be read"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_files_with_a_fault(tmp_path: Path, fault: str) -> None:
    extra, stated, says = BROKEN[fault]
    file = saved(tmp_path / "a.safetensors", {Q: HALVES}, extra=extra, stated=stated)
    with pytest.raises(InputError, match=f"^lora_name_or_path: 'a' .*{says}.*\\.$") as caught:
        read_adapter(file)
    assert caught.value.field == "lora_name_or_path"


def test_settings_beside_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_bytes(b"\xff\xfe\x00")
    file = saved(tmp_path / "adapter_model.safetensors", {Q: HALVES})
    with pytest.raises(InputError, match="has a adapter_config.json beside it that cannot be read"):
        read_adapter(file)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (f"{Q}.lokr_w1", "LoKr"),
        (f"{Q}.hada_w1_a", "LoHa"),
        (f"{Q}.oft_blocks", "OFT"),
        (f"{Q}.dora_scale", "DoRA"),
        (f"{Q}.lora_magnitude_vector", "DoRA"),
        ("lyric_embs.lora_embedding_A", "LoRA of an embedding"),
        (f"{Q}.lora_B.bias", "LoRA with biases"),
        (f"{Q}.diff", "whole differences"),
    ],
)
@pytest.mark.parametrize("beside", [{}, {Q: HALVES}], ids=["alone", "beside pairs"])
def test_other_methods_are_named(tmp_path: Path, name: str, method: str, beside: Pairs) -> None:
    file = saved(tmp_path / "a.safetensors", beside, extra={name: torch.ones(2, 2)})
    with pytest.raises(UnsupportedError, match=f"'a' is made by {method}, not by plain LoRA: it holds 1 tensors"):
        read_adapter(file)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(Small().state_dict(), path)
    with pytest.raises(UnsupportedError, match="'a' holds no LoRA pair, but 16 tensors such as 'proj_in.bias'"):
        read_adapter(on_disk(path))


def test_reading_copies_nothing(tmp_path: Path) -> None:
    """The tensors are the file's own pages: a change of the file, as nobody should make it, shows in them."""
    file = saved(tmp_path / "a.safetensors", {Q: HALVES})
    adapter = read_adapter(file)
    content = file.path.read_bytes()
    with file.path.open("r+b") as raw:
        raw.write(content.replace(torch.ones(1).numpy().tobytes(), torch.full((1,), 2.0).numpy().tobytes()))
    assert torch.equal(adapter.pairs[Q].down, torch.full((2, 8), 2.0))
