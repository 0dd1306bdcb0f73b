"""Weight files into networks: strict, and every problem in one error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from acestep.checkpoints.load import load_silence, load_strict, read_json, weight_files
from acestep.errors import WeightsError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.b = nn.Linear(3, 1, bias=False)


def meta() -> Net:
    with torch.device("meta"):
        return Net()


def saved(folder: Path, name: str = "model.safetensors", **change: torch.Tensor | None) -> Path:
    state = {**Net().state_dict(), **{key.replace("__", "."): value for key, value in change.items()}}
    path = folder / name
    save_file({key: value for key, value in state.items() if value is not None}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_arrive_in_the_asked_dtype_frozen_and_in_eval_mode(tmp_path: Path, dtype: torch.dtype) -> None:
    path = saved(tmp_path, a__weight=torch.full((3, 2), 0.5))
    network = load_strict(meta(), [path], dtype)
    assert network.a.weight.dtype == dtype
    assert network.a.weight.eq(0.5).all()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_every_problem_is_in_one_error(tmp_path: Path) -> None:
    path = saved(tmp_path, a__weight=torch.zeros(3, 5), b__weight=None, c__weight=torch.zeros(1))
    with pytest.raises(WeightsError) as caught:
        load_strict(meta(), [path], torch.float32)
    text = str(caught.value)
    assert "1 tensors missing: b.weight" in text
    assert "1 tensors unexpected: c.weight" in text
    assert "a.weight is [3, 5], not [3, 2]" in text


def test_shards_are_found_through_their_index(tmp_path: Path) -> None:
    state = Net().state_dict()
    save_file({"a.weight": state["a.weight"]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file(
        {"a.bias": state["a.bias"], "b.weight": state["b.weight"]}, tmp_path / "model-00002-of-00002.safetensors"
    )
    names = {"a.weight": "model-00001-of-00002.safetensors", "a.bias": "model-00002-of-00002.safetensors"}
    names["b.weight"] = names["a.bias"]
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    network = load_strict(meta(), weight_files(tmp_path, "model"), torch.float32)
    assert torch.equal(network.b.weight, state["b.weight"])
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="lacks model-00001-of-00002.safetensors"):
        weight_files(tmp_path, "model")


def test_files_that_are_no_safetensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("<html>404</html>")
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        load_strict(meta(), weight_files(tmp_path, "model"), torch.float32)
    whole = saved(tmp_path).read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        load_strict(meta(), [path], torch.float32)


def test_an_empty_folder_and_a_broken_index(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no model.safetensors"):
        weight_files(tmp_path, "model")
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(WeightsError, match="is not a safetensors index"):
        weight_files(tmp_path, "model")


def test_published_silence_is_transposed_and_never_unpickled(tmp_path: Path) -> None:
    torch.save(torch.arange(18.0).view(1, 3, 6), tmp_path / "silence_latent.pt")
    assert torch.equal(load_silence(tmp_path), torch.arange(18.0).view(1, 3, 6).transpose(1, 2))
    torch.save({"__reduce__": Net()}, tmp_path / "silence_latent.pt")
    with pytest.raises(WeightsError, match="is not a plain tensor file"):
        load_silence(tmp_path)
    (tmp_path / "silence_latent.pt").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="is not a plain tensor file"):
        load_silence(tmp_path)
    torch.save(torch.zeros(3), tmp_path / "silence_latent.pt")
    with pytest.raises(WeightsError, match="does not hold one"):
        load_silence(tmp_path)
    save_file({"other": torch.zeros(1, 5, 2)}, tmp_path / "silence_latent.safetensors")
    with pytest.raises(WeightsError, match="does not hold exactly the tensor silence_latent"):
        load_silence(tmp_path)
    save_file({"silence_latent": torch.zeros(3, 3)}, tmp_path / "silence_latent.safetensors")
    with pytest.raises(WeightsError, match=r"has the shape \[3, 3\]"):
        load_silence(tmp_path)


def test_embedded_silence_wins_and_is_widened(tmp_path: Path) -> None:
    save_file({"silence_latent": torch.ones(1, 5, 2, dtype=torch.float16)}, tmp_path / "silence_latent.safetensors")
    silence = load_silence(tmp_path)
    assert silence.shape == (1, 5, 2)
    assert silence.dtype == torch.float32


def test_configs_that_are_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(WeightsError, match="cannot read"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(WeightsError, match="is not JSON"):
        read_json(path)
    path.write_text("[]")
    with pytest.raises(WeightsError, match="is not a JSON object"):
        read_json(path)
