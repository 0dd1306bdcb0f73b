"""Weight files into networks: strict, and every problem in one error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from acestep.checkpoints.files import read_json
from acestep.checkpoints.load import load_silence, load_strict
from acestep.checkpoints.tensors import WeightFiles, weight_files
from acestep.cogrun.schema import PROJECT
from acestep.errors import WeightsError

from published_support import BYTES, write_sparse

SHARDS = tuple(f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.Linear(3, 1, bias=False)


def meta() -> Net:
    with torch.device("meta"):
        return Net()


def saved(folder: Path, name: str = "model.safetensors", **change: torch.Tensor | None) -> WeightFiles:
    state = {**Net().state_dict(), **{key.replace("__", "."): value for key, value in change.items()}}
    save_file({key: value for key, value in state.items() if value is not None}, folder / name)
    return weight_files(folder, "model")


def refusal(files: WeightFiles, dtype: torch.dtype = torch.float32) -> str:
    with pytest.raises(WeightsError) as caught:
        load_strict(meta(), files, dtype)
    return str(caught.value)


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_arrive_in_the_asked_dtype_frozen_and_in_eval_mode(
    tmp_path: Path, stored: torch.dtype, dtype: torch.dtype
) -> None:
    state = {name: torch.full_like(tensor, 0.5, dtype=stored) for name, tensor in Net().state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    network = load_strict(meta(), weight_files(tmp_path, "model"), dtype)
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}
    assert all(parameter.eq(0.5).all() for parameter in network.parameters())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_every_problem_of_one_file_is_in_one_error(tmp_path: Path) -> None:
    strange = {"a__weight": torch.zeros(3, 5), "a__bias": torch.zeros(3, dtype=torch.int8)}
    text = refusal(saved(tmp_path, **strange, b__weight=None, c__weight=torch.zeros(1)))
    assert text == (
        f"Model not loaded: {tmp_path}/model.safetensors cannot be used: 1 tensor missing: b.weight; "
        "1 tensor unexpected: c.weight; 1 tensor of the wrong shape: a.weight is [3, 5], not [3, 2]; "
        "1 tensor of a type that is none of BF16, F16, F32, F64: a.bias is I8."
    )


def test_every_problem_of_several_shards_is_in_one_error(tmp_path: Path) -> None:
    """One shard is missing, one is a web page, one has a wrong shape, a lost tensor and an extra one."""
    index = {"a.weight": SHARDS[0], "a.bias": SHARDS[1], "b.weight": SHARDS[2], "d": SHARDS[2]}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (tmp_path / SHARDS[1]).write_text("\n<!DOCTYPE html><html>404</html>")
    save_file({"b.weight": torch.zeros(7), "c": torch.zeros(1)}, tmp_path / SHARDS[2])
    assert refusal(weight_files(tmp_path, "model")) == (
        f"Model not loaded: {tmp_path} cannot be used: {SHARDS[0]} is missing; {SHARDS[1]} is a web page; "
        "1 tensor that the index names but no file holds: d; 1 tensor unexpected: c; "
        "1 tensor of the wrong shape: b.weight is [7], not [1, 3]."
    )


def test_long_lists_are_counted(tmp_path: Path) -> None:
    text = refusal(saved(tmp_path, **{f"extra{number:02}": torch.zeros(1) for number in range(14)}))
    assert "14 tensors unexpected: extra00, extra01," in text
    assert "extra11 and 2 more." in text


def test_shards_are_found_through_their_index(tmp_path: Path) -> None:
    state = Net().state_dict()
    index = {"a.weight": SHARDS[0], "a.bias": SHARDS[1], "b.weight": SHARDS[1]}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for shard in SHARDS[:2]:
        save_file({name: state[name] for name, where in index.items() if where == shard}, tmp_path / shard)
    network = load_strict(meta(), weight_files(tmp_path, "model"), torch.float32)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    save_file(state, tmp_path / SHARDS[0])
    assert "2 tensors in more than one place: a.bias, b.weight" in refusal(weight_files(tmp_path, "model"))


def test_names_may_be_spelled_in_two_ways_but_not_in_one_file(tmp_path: Path) -> None:
    state = Net().state_dict()
    save_file({f"model.{name}": tensor for name, tensor in state.items()}, tmp_path / "model.safetensors")
    files = weight_files(tmp_path, "model")
    network = load_strict(meta(), files, torch.float32, rename=lambda name: name.removeprefix("model."))
    assert torch.equal(network.b.weight, state["b.weight"])
    save_file({"model.a.bias": torch.zeros(3), **state}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="1 tensor in more than one place: model.a.bias"):
        load_strict(meta(), files, torch.float32, rename=lambda name: name.removeprefix("model."))


@pytest.mark.parametrize("kind", ["I8", "F8_E4M3"])
def test_quantised_weights_are_refused(tmp_path: Path, kind: str) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in Net().state_dict().items()}
    write_sparse(tmp_path / "model.safetensors", shapes, kind)
    assert f"a.bias is {kind}, a.weight is {kind}, b.weight is {kind}." in refusal(weight_files(tmp_path, "model"))
    assert BYTES[kind] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "model.safetensors is empty"),
        (b"short", "model.safetensors is not a readable safetensors file"),
        (b"\x00" * 100, "model.safetensors is not a readable safetensors file"),
        (b"\xff" * 100, "model.safetensors is not a readable safetensors file"),
        (b"\n <html>404</html>", "model.safetensors is a web page"),
        (b"PK\x03\x04" + b"\x00" * 60, "model.safetensors is a pickle, which is never loaded"),
        (b"\x80\x02}q\x00.", "model.safetensors is a pickle, which is never loaded"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer instead of the file it points to"),
    ],
)
def test_files_that_are_something_else_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    text = refusal(weight_files(tmp_path, "model"))
    assert words in text
    assert "missing" not in text  # nobody can know


@pytest.mark.parametrize("lost", [1, 20])
def test_a_truncated_file_says_how_much_is_there(tmp_path: Path, lost: int) -> None:
    files = saved(tmp_path)
    whole = files.paths[0].read_bytes()
    files.paths[0].write_bytes(whole[:-lost])
    words = f"model.safetensors is cut short: it has {len(whole) - lost} of {len(whole)} bytes."
    assert refusal(files).endswith(words)


def test_a_file_that_goes_away_or_is_a_folder(tmp_path: Path) -> None:
    files = saved(tmp_path)
    files.paths[0].unlink()
    assert refusal(files).endswith("model.safetensors is missing.")
    files.paths[0].mkdir()
    assert refusal(files).endswith("model.safetensors is not a file.")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_copies_are_searched_for_nan_and_infinity(tmp_path: Path, value: float) -> None:
    weight = torch.zeros(3, 2)
    weight[1, 1] = value
    files = saved(tmp_path, a__weight=weight)
    assert "1 tensor that bfloat16 cannot hold (NaN or infinity): a.weight." in refusal(files, torch.bfloat16)
    load_strict(meta(), files, torch.float32)  # stays mapped: a matrix is not read


def test_mapped_vectors_are_searched_too(tmp_path: Path) -> None:
    files = saved(tmp_path, a__bias=torch.tensor([0.0, float("nan"), 0.0]))
    assert "float32 cannot hold (NaN or infinity): a.bias." in refusal(files)


def test_values_too_large_for_the_type_are_refused(tmp_path: Path) -> None:
    files = saved(tmp_path, b__weight=torch.full((1, 3), 1e6))
    assert "float16 cannot hold (NaN or infinity): b.weight." in refusal(files, torch.float16)


def test_an_empty_folder_and_one_of_pickles(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no model.safetensors\."):
        weight_files(tmp_path, "model")
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match=r"\(there is pytorch_model.bin, but pickles are never loaded\)"):
        weight_files(tmp_path, "model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "no weight_map"),
        ("{}", "no weight_map"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"weight_map": {"a": 1}}', "no weight_map"),
        ('{"weight_map": {}}', "weight_map is empty"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "../a.safetensors is not beside it"),
        ("<html>", "Expecting value"),
        ("[" * 100_000, "no weight_map"),
    ],
)
def test_a_broken_index(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsError, match="is not a safetensors index") as caught:
        weight_files(tmp_path, "model")
    assert words in str(caught.value)


def test_published_silence_is_transposed_and_never_unpickled(tmp_path: Path) -> None:
    torch.save(torch.arange(18.0).view(1, 3, 6), tmp_path / "silence_latent.pt")
    assert torch.equal(load_silence(tmp_path), torch.arange(18.0).view(1, 3, 6).transpose(1, 2))
    torch.save({"__reduce__": Net()}, tmp_path / "silence_latent.pt")
    with pytest.raises(WeightsError, match="is not a plain tensor file"):
        load_silence(tmp_path)
    for content in (b"<html>", b""):
        (tmp_path / "silence_latent.pt").write_bytes(content)
        with pytest.raises(WeightsError, match="is not a plain tensor file"):
            load_silence(tmp_path)
    torch.save(torch.zeros(3), tmp_path / "silence_latent.pt")
    with pytest.raises(WeightsError, match="does not hold one"):
        load_silence(tmp_path)
    torch.save(torch.full((1, 3, 6), float("nan")), tmp_path / "silence_latent.pt")
    with pytest.raises(WeightsError, match="holds NaN or infinity"):
        load_silence(tmp_path)


def test_our_form_of_silence(tmp_path: Path) -> None:
    path = tmp_path / "silence_latent.safetensors"
    path.write_text("<html>")
    with pytest.raises(WeightsError, match=r"silence_latent\.safetensors is a web page"):
        load_silence(tmp_path)
    save_file({"other": torch.zeros(1, 5, 2)}, path)
    with pytest.raises(WeightsError, match="does not hold exactly the tensor silence_latent"):
        load_silence(tmp_path)
    save_file({"silence_latent": torch.zeros(3, 3)}, path)
    with pytest.raises(WeightsError, match=r"has the shape \[3, 3\]"):
        load_silence(tmp_path)
    save_file({"silence_latent": torch.ones(1, 5, 2, dtype=torch.float16)}, path)
    silence = load_silence(tmp_path)
    assert (silence.shape, silence.dtype) == ((1, 5, 2), torch.float32)


def test_configs_that_are_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(WeightsError, match="cannot read"):
        read_json(path)
    for text in ("{", "[" * 100_000, "\udc80"):
        path.write_text(text, errors="surrogateescape")
        with pytest.raises(WeightsError, match="is not JSON"):
            read_json(path)
    path.write_text("[]")
    with pytest.raises(WeightsError, match="is not a JSON object"):
        read_json(path)


MEASURE = """
import re, sys, torch
from pathlib import Path
from acestep.checkpoints.load import load_strict
from acestep.checkpoints.tensors import weight_files
with torch.device("meta"):
    network = torch.nn.Sequential(*[torch.nn.Linear(4096, 4096, bias=False) for _ in range(8)])
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
load_strict(network, weight_files(Path(sys.argv[1]), "model"), getattr(torch, sys.argv[2]))
print(peak() - before)
"""


@pytest.mark.parametrize(("kind", "dtype"), [("BF16", "float32"), ("F32", "bfloat16"), ("F32", "float32")])
def test_no_weight_but_one_is_in_memory_twice(tmp_path: Path, kind: str, dtype: str) -> None:
    """Peak memory of the process, pages of the file included: a cast costs the weights and one tensor."""
    shapes = {f"{number}.weight": (4096, 4096) for number in range(8)}
    write_sparse(tmp_path / "model.safetensors", shapes, kind)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), dtype]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    copied = 0 if {"BF16": "bfloat16", "F32": "float32"}[kind] == dtype else {"float32": 4, "bfloat16": 2}[dtype]
    weights, one_of_them = 8 * 4096 * 4096 * copied, 4096 * 4096 * (BYTES[kind] + 4)
    assert weights <= int(run.stdout) <= weights + one_of_them
