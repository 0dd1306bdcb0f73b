"""Fields of a body, options of a command line: what they become, without a server and without models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acestep.checkpoints.registry import MODELS
from acestep.errors import (
    AceStepError,
    CancelledError,
    DeviceMemoryError,
    GenerationError,
    InputError,
    OutputError,
    UnsupportedError,
    WeightsError,
)
from acestep.params import GenerationConfig, GenerationParams
from acestep.server.faults import (
    BusyError,
    DeniedError,
    NotHereError,
    TooLargeError,
    detail_of,
    headers_of,
    status_of,
)
from acestep.server.fields import FIELDS, RENAMED, Own
from acestep.server.mapping import understood
from acestep.server.options import Options, read_options
from acestep.server.replies import path_header
from acestep.server.upstream import grown, grows_by_region, translated
from acestep.server.work import file_names

from server_support import REQUIRED


def test_the_contract_becomes_parameters() -> None:
    said = understood(REQUIRED)
    assert said.params == GenerationParams(
        caption=REQUIRED["prompt"],
        lyrics=REQUIRED["lyrics"],
        duration=10.0,
        inference_steps=60,
        guidance_scale=15.0,
        thinking=False,
    )
    assert said.config == GenerationConfig(batch_size=1, seeds=[12345], audio_format="wav")
    assert said.own == Own(checkpoint_path="tiny", actual_seeds=[12345])


def test_silence_means_what_the_model_likes() -> None:
    said = understood({"prompt": "x"})
    assert said.params.inference_steps is None
    assert said.params.guidance_scale is None
    assert said.params.thinking is False
    assert (said.config.batch_size, said.config.audio_format) == (1, "wav")


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_can_be_null(name: str) -> None:
    assert understood({name: None}) == understood({})


@pytest.mark.parametrize(("field", "parameter"), sorted(RENAMED.items()))
def test_parameters_have_their_own_names_too(field: str, parameter: str) -> None:
    value = {"float": 3.0, "float | None": 30.0, "int | None": 3}.get(FIELDS[field].kind, "cover")
    by_field, by_parameter = (understood({name: value}) for name in (field, parameter))
    assert (by_field.params, by_field.config) == (by_parameter.params, by_parameter.config)
    assert by_field.naming.names[parameter] == field
    assert by_parameter.naming.names[parameter] == parameter
    with pytest.raises(InputError, match="say the same; send one of them"):
        understood({field: value, parameter: value})


def test_every_parameter_of_the_python_api_can_be_said() -> None:
    parameters = {*GenerationParams.__dataclass_fields__, *GenerationConfig.__dataclass_fields__}
    outputs = {name for name in parameters if name.startswith("cot_")}
    assert parameters - outputs <= set(FIELDS)
    assert not outputs & set(FIELDS)
    assert all(row.about for row in FIELDS.values())


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"task": "retake"}, {"task_type": "text2music", "variation_strength": 0.5}),
        ({"task": "retake", "retake_variance": 0.2}, {"variation_strength": 0.2}),
        ({"task": "retake", "variation_strength": 0.3}, {"variation_strength": 0.3}),
        ({"task": "retake", "retake_seeds": [4, 5]}, {"variation_seed": 4}),
        ({"retake_variance": 0.5}, {"variation_strength": 0.0}),
        ({"variation_strength": 0.5}, {"variation_strength": 0.5}),
        ({"audio2audio_enable": True, "ref_audio_input": "a"}, {"task_type": "audio2audio", "src_audio": "a"}),
        ({"task": "audio2audio", "ref_audio_strength": 0.9}, {"audio2audio_strength": 0.1}),
        ({"task": "repaint", "retake_variance": 0.2}, {"variation_strength": 0.2}),
        ({"edit_target_prompt": "a", "edit_target_lyrics": "b"}, {"style_prompt": "a", "style_lyrics": "b"}),
        ({"oss_steps": []}, {"oss_steps": None}),
    ],
)
def test_upstream_is_understood(body: dict[str, Any], wanted: dict[str, Any]) -> None:
    params = translated(understood(body))[0].params
    assert {name: getattr(params, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("body", "size", "seeds", "surplus"),
    [
        ({"actual_seeds": [1, 2, 3]}, 3, [1, 2, 3], False),
        ({"actual_seeds": [1, 2, 3], "batch_size": 2}, 2, [1, 2], True),
        ({"actual_seeds": [1], "batch_size": 2}, 2, [1], False),
        ({"actual_seeds": list(range(10))}, 8, list(range(8)), True),
        ({"actual_seeds": []}, 1, None, False),
        ({"actual_seeds": [1, 2], "batch_size": 0}, 0, [1, 2], False),
    ],
)
def test_seeds_say_how_many_songs(body: dict[str, Any], size: int, seeds: list[int] | None, surplus: bool) -> None:
    said, remarks = translated(understood(body))
    assert (said.config.batch_size, said.config.seeds) == (size, seeds)
    assert [remark.startswith("actual_seeds has ") for remark in remarks] == [True] * surplus


@pytest.mark.parametrize("task", ["repaint", "inpainting"])
def test_a_region_that_shall_stay_as_it_is_is_refused(task: str) -> None:
    with pytest.raises(InputError, match=f"retake_variance must be above 0 for task '{task}'"):
        translated(understood({"task": task, "retake_variance": 0}))


@pytest.mark.parametrize("field", ["bf16", "use_erg_tag"])
def test_messages_spell_flags_as_json_does(field: str) -> None:
    with pytest.raises(InputError, match=f"^{field} must be true or false, not 'true'.$"):
        understood({field: "true"})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"repaint_start": -30, "repaint_end": 60}, ("extend_start", 30, None)),
        ({"repaint_start": -30}, ("extend_start", 30, None)),
        ({"repaint_start": 0, "repaint_end": 90}, ("extend_end", 30, None)),
        ({"repaint_start": -20, "repaint_end": 100}, ("extend_both", 40, 20)),
        ({"repaint_start": 50, "repaint_end": 70}, ("extend_end", 10, None)),
    ],
)
def test_a_region_beyond_a_recording_is_growth(body: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    said = understood({"task": "extend", "src_audio": "a", **body})
    assert grows_by_region(said)
    params = grown(said, lambda path: 60.0).params
    assert (params.continuation_mode, params.extend_duration, params.extend_start_duration) == wanted
    assert (params.repainting_start, params.repainting_end) == (0, -1)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"repaint_end": 60}, "repaint_start and repaint_end add nothing to the recording"),
        ({"repaint_start": 10, "repaint_end": 20}, "add nothing"),
        ({"repaint_end": 60.5}, "repaint_end adds 0.5 seconds; 1 to 600 can be added"),
        ({"repainting_start": -0.5}, "repainting_start adds 0.5 seconds"),
        ({"repaint_end": 700}, "repaint_end adds 640 seconds"),
    ],
)
def test_growth_must_be_possible(body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        grown(understood({"task": "extend", "src_audio": "a", **body}), lambda path: 60.0)


@pytest.mark.parametrize(
    "body",
    [
        {"task": "extend"},
        {"task": "extend", "repaint_end": 90, "extend_duration": 10},
        {"task": "extend", "repaint_end": 90, "continuation_mode": "inpaint_middle"},
        {"task": "repaint", "repaint_end": 90},
        {"task": "unheard of", "repaint_end": 90},
    ],
)
def test_only_a_growing_task_without_lengths_grows_by_region(body: dict[str, Any]) -> None:
    assert not grows_by_region(understood(body))


def test_messages_speak_of_the_field_that_was_sent() -> None:
    said = understood({"caption": "x", "audio_duration": 10})
    with pytest.raises(InputError, match="^caption is bad") as caught, said.naming.errors():
        raise InputError("caption is bad", field="caption")
    assert caught.value.field == "caption"
    assert said.naming.text("duration has no effect") == "audio_duration has no effect"


# --- errors ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 400),
        (UnsupportedError("x"), 400),
        (NotHereError("x"), 404),
        (TooLargeError("x"), 413),
        (DeniedError("x"), 403),
        (BusyError("x", 7), 429),
        (CancelledError("x"), 409),
        (GenerationError("x"), 500),
        (DeviceMemoryError("x"), 500),
        (OutputError("x"), 500),
        (WeightsError("x"), 500),
        (AceStepError("x"), 500),
        (ZeroDivisionError("x"), 500),
    ],
)
def test_every_error_has_a_status(error: BaseException, status: int) -> None:
    assert status_of(error) == status


def test_details_hold_no_folders_and_no_bugs() -> None:
    error = WeightsError("Model not loaded: /srv/secret/weights/vae/config.json is not JSON.")
    assert detail_of(error) == "Model not loaded: config.json is not JSON."
    assert detail_of(KeyError("/srv/secret")) == "The server failed; its log says why."
    assert headers_of(BusyError("x", 7)) == {"Retry-After": "7"}


def test_headers_can_hold_every_path() -> None:
    assert path_header(Path("/a b/c.wav")) == "/a b/c.wav"
    assert path_header(Path("/歌\r\nX-Evil: 1.wav")) == "/%E6%AD%8C%0D%0AX-Evil: 1.wav"


@pytest.mark.parametrize(
    ("tracks", "songs", "names"),
    [
        ([""], [0], ["a.wav"]),
        (["", "", ""], [0, 1, 2], ["a.wav", "a_2.wav", "a_3.wav"]),
        (["drums"], [0], ["a.wav"]),
        (["drums", "bass"], [0, 0], ["a_drums.wav", "a_bass.wav"]),
        (["drums", "bass", "drums"], [0, 0, 1], ["a_drums.wav", "a_bass.wav", "a_2_drums.wav"]),
    ],
)
def test_files_of_a_batch_have_names(tracks: list[str], songs: list[int], names: list[str]) -> None:
    found = file_names(Path("o/a.wav"), [{"track": track} for track in tracks], songs)
    assert [path.name for path in found] == names


# --- options -------------------------------------------------------------------------------------------------------
def test_a_server_is_for_this_machine_alone_unless_told() -> None:
    options = read_options([], {})
    assert options == Options()
    assert options.on_loopback
    assert not read_options(["--host", "0.0.0.0"], {}).on_loopback


def test_options_are_read() -> None:
    words = "--port 0 --queue 3 --expire-hours 0.5 --no-download --preload --api-key k --input-folder a"
    more = "--input-folder b --cors-origin https://x --allowed-host h --checkpoint tiny --checkpoint-root w"
    options = read_options([*words.split(), *more.split()], {"ACESTEP_API_KEY": "other", "CHECKPOINT_PATH": "/data"})
    assert (options.port, options.queue, options.expire_s, options.download) == (0, 3, 1800.0, False)
    assert (options.preload, options.api_key, options.input_folders) == (True, "k", (Path("a"), Path("b")))
    assert (options.cors_origins, options.allowed_hosts) == (("https://x",), ("h",))
    assert (options.checkpoint, options.checkpoint_root) == ("tiny", Path("w"))


def test_the_environment_is_read() -> None:
    environment = {"ACESTEP_API_KEY": "k", "CHECKPOINT_PATH": "/data/tiny", "ACESTEP_ALLOW_PRIVATE_URLS": "1"}
    options = read_options([], environment)
    assert (options.api_key, options.checkpoint, options.checkpoint_root) == ("k", "tiny", Path("/data"))
    assert options.allow_private


@pytest.mark.parametrize(
    "words", [["--queue", "-1"], ["--expire-hours", "nan"], ["--max-body-mib", "0"], ["--api-key", "schlüssel"]]
)
def test_bad_options_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError, match=f"^{words[0]} must be"):
        read_options(words, {})


def test_help_answers_without_loading_anything_heavy() -> None:
    program = (
        "import sys\nfrom acestep.server.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'fastapi', 'numpy'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--output-folder" in run.stdout


def test_models_are_named_by_the_folders_they_live_in() -> None:
    folders = [spec.folder.partition("/")[0] for spec in MODELS.values()]
    assert len(set(folders)) == len(folders)
