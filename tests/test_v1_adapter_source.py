"""Where adapters may come from: names judged without a network, files fetched whole or not at all, then found."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from acestep.checkpoints.integrity import MARKER
from acestep.cogrun.schema import PROJECT
from acestep.errors import InputError, OutputError, WeightsError
from acestep.net.fetch import FetchLimits
from acestep.net.url import Destination, Refused
from acestep.v1.adapter_files import Fetching, provide_adapter
from acestep.v1.adapter_source import (
    REGISTERED,
    HubSource,
    LocalSource,
    UrlSource,
    check_hop,
    judge_adapter,
)

from download_support import CLOSED, IMPATIENT, TOKEN, environment
from fake_hub import UNPINNED_COMMIT, FakeHub, Fault, Repository, serving
from hardening_support import CERTIFICATE, FileHost, answering, disk_with_room_for, dripping, hosting, redirecting

RAP = "ACE-Step/ACE-Step-v1-chinese-rap-LoRA"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = "SECRETMARK"


def source(name: str, *, allow_local: bool = False) -> HubSource | UrlSource | LocalSource:
    order = judge_adapter(name, 1.0, allow_local=allow_local)
    assert order is not None
    return order.source


def adapter(seed: int = 0, size: int = 8) -> bytes:
    """A LoRA file of one module."""
    generator = torch.Generator().manual_seed(seed)
    return save({f"to_q.lora_{half}.weight": torch.randn(size, size, generator=generator) for half in "AB"})


# What names mean


@pytest.mark.parametrize("name", ["", "none", "None", " NONE ", "  "])
@pytest.mark.parametrize("allow_local", [False, True])
def test_words_for_no_adapter(name: str, allow_local: bool) -> None:
    assert judge_adapter(name, 1.0, allow_local=allow_local) is None


def test_a_weight_of_nothing_is_no_adapter_but_its_name_is_judged() -> None:
    assert judge_adapter(RAP, 0.0, allow_local=False) is None
    with pytest.raises(InputError, match="lora_name_or_path"):
        judge_adapter("nonsense", 0.0, allow_local=False)


@pytest.mark.parametrize("weight", [-0.01, 2.01, float("nan"), float("inf"), -1])
def test_weights_out_of_range(weight: float) -> None:
    with pytest.raises(InputError, match=r"^lora_weight must be a number from 0 to 2, not ") as caught:
        judge_adapter(RAP, weight, allow_local=False)
    assert caught.value.field == "lora_weight"


def test_the_registered_adapter() -> None:
    assert frozenset({RAP}) == REGISTERED
    order = judge_adapter(RAP, 0.8, allow_local=False)
    assert order is not None
    assert (order.source, order.weight) == (HubSource(RAP), 0.8)
    assert order.source.folder == "loras/ACE-Step--ACE-Step-v1-chinese-rap-LoRA"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("owner/name", HubSource("owner/name")),
        ("Own_er1/na-me.v2_x", HubSource("Own_er1/na-me.v2_x")),
        ("owner/name/funk.safetensors", HubSource("owner/name", "funk.safetensors")),
        ("owner/name/a b/c (1) [x]+.safetensors", HubSource("owner/name", "a b/c (1) [x]+.safetensors")),
        ("owner/name/説唱.safetensors", HubSource("owner/name", "説唱.safetensors")),
        (f"owner/name@{COMMIT}", HubSource("owner/name", "", COMMIT)),
        (f"owner/name@{COMMIT}/x/funk.safetensors", HubSource("owner/name", "x/funk.safetensors", COMMIT)),
    ],
)
def test_hub_ids(name: str, meant: HubSource) -> None:
    assert source(name) == meant
    assert meant.name == name


def test_every_file_and_commit_has_a_folder_of_its_own() -> None:
    names = ["o/n", "o/n/a.safetensors", "o/n/b/a.safetensors", "o/n/b--a.safetensors", f"o/n@{COMMIT}", "o/m"]
    names += [f"o/n@{COMMIT}/a.safetensors", f"https://huggingface.co/a.safetensors?{SECRET}"]
    folders = [source(name).folder for name in [*names, "https://huggingface.co/a.safetensors"]]
    assert len(set(folders)) == len(folders)
    assert all(Path(folder).parent == Path("loras") for folder in folders)


@pytest.mark.parametrize(
    "name",
    """
    nonsense a/b/c owner//name /owner/name owner/name/ owner/../name owner/.. ../owner/name
    owner/name/../x.safetensors
    owner/name/x.bin.gz owner/name@main owner/name@0123 owner/-name owner/na--me own..er/name .hidden/name ~ ~/lora .
    /etc/passwd C:\\lora lora.safetensors owner/name.safetensors owner/name/.safetensors owner/name/a\\b.safetensors
    owner/name?x owner/name#x owner/na%2fme owner/näme
    """.split(),
)
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(InputError, match=r"^lora_name_or_path must be a hub id such as .* or none, not ") as caught:
        judge_adapter(name, 1.0, allow_local=False)
    assert caught.value.field == "lora_name_or_path"


def test_a_very_long_name_is_cut_in_its_message() -> None:
    for allow_local in (False, True):
        with pytest.raises(InputError, match=r"\(100000 characters\)"):
            judge_adapter("x" * 100_000, 1.0, allow_local=allow_local)


@pytest.mark.parametrize(
    "name",
    [
        "owner/name/x.bin",
        "lora.pt",
        "owner/name/a/b.CKPT",
        "/srv/x.pth",
        "https://huggingface.co/o/n/resolve/main/x.bin",
    ],
)
def test_pickles_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match="is (of )?a pickle, which may run code when it is opened"):
        judge_adapter(name, 1.0, allow_local=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/owner/name/resolve/main/pytorch_lora_weights.safetensors",
        f"https://huggingface.co/owner/name/resolve/main/a.safetensors?download={SECRET}#part",
        "https://HuggingFace.co/a.safetensors",
        "https://cdn-lfs-us-1.hf.co/a.safetensors",
        "https://cas-bridge.xethub.hf.co/a.safetensors",
        f"https://civitai.com/api/download/models/128461?token={SECRET}",
        "https://github.com/owner/name/releases/download/v1/a.safetensors",
        "https://raw.githubusercontent.com/owner/name/main/a.safetensors",
        "https://replicate.delivery/pbxt/x/a.safetensors",
    ],
)
def test_urls_of_known_hosts(url: str) -> None:
    found = source(url)
    assert isinstance(found, UrlSource)
    assert found.url == url.partition("#")[0]
    assert found.name == url.partition("?")[0]
    assert SECRET not in f"{found} {found!r} {found.name} {found.folder}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://huggingface.co/a.safetensors", "must begin with https://"),
        ("HTTPS://huggingface.co/a.safetensors", "must begin with https://"),
        ("ftp://huggingface.co/a.safetensors", "must begin with https://"),
        ("file:///srv/a.safetensors", "must begin with https://"),
        ("s3://bucket/a.safetensors", "must begin with https://"),
        ("data:application/octet-stream;base64,AAAA", "must begin with https://"),
        ("https://example.com/a.safetensors", "leads to 'example.com'; adapters come from huggingface.co"),
        ("https://huggingface.co.example.com/a.safetensors", "leads to 'huggingface.co.example.com'"),
        ("https://nothuggingface.co/a.safetensors", "leads to 'nothuggingface.co'"),
        ("https://xhf.co/a.safetensors", "leads to 'xhf.co'"),
        ("https://huggingface.co@example.com/a.safetensors", "must not carry a user name or password"),
        ("https://example.com\\@huggingface.co/a.safetensors", "has a space, a backslash or a control character"),
        ("https://127.0.0.1/a.safetensors", "leads to '127.0.0.1'"),
        ("https://[::1]/a.safetensors", "leads to '::1'"),
        ("https:///a.safetensors", "names no host"),
        ("https://huggingface.co/owner/name", r"must end in .safetensors"),
        ("https://huggingface.co/a.bin?x=.safetensors", "is of a pickle"),
        ("https://huggingface.co/a?x=.safetensors", "must end in .safetensors"),
        ("https://huggingface.co/a.safetensors/", "must end in .safetensors"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(InputError, match=f"^lora_name_or_path: the URL {says}") as caught:
        judge_adapter(f"{url}&{SECRET}" if "?" in url else url, 1.0, allow_local=True)
    assert SECRET not in f"{caught.value} {caught.value.value}"
    assert caught.value.field == "lora_name_or_path"


def test_who_runs_the_server_may_name_further_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("models.example.org", "a.cdn.example.net"):
        with pytest.raises(InputError, match=f"leads to '{host}'.*ACESTEP_LORA_HOSTS"):
            source(f"https://{host}/a.safetensors")
    monkeypatch.setenv("ACESTEP_LORA_HOSTS", "Models.example.org, *.example.net,")
    for host in ("models.example.org", "a.cdn.example.net", "huggingface.co"):
        source(f"https://{host}/a.safetensors")
    with pytest.raises(Refused, match="leads to 'example.net'"):
        check_hop(Destination.parse("https://example.net/a.safetensors"))


# Files of this machine


def test_a_file_or_folder_of_this_machine(tmp_path: Path) -> None:
    content = adapter()
    file = tmp_path / "mine.safetensors"
    file.write_bytes(content)
    for name in (str(file), str(tmp_path)):
        found = source(name, allow_local=True)
        assert found == LocalSource(file)
        brought = provide_adapter(found, tmp_path / "weights")
        assert (brought.source, brought.path) == (str(file), file)
        assert brought.sha256 == hashlib.sha256(content).hexdigest()
    assert not (tmp_path / "weights").exists()
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(content)
    assert source(str(tmp_path), allow_local=True) == LocalSource(tmp_path / "pytorch_lora_weights.safetensors")


def test_what_is_here_wins_over_a_hub_id_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert source("owner/name", allow_local=True) == HubSource("owner/name")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "a.safetensors").write_bytes(adapter())
    assert source("owner/name", allow_local=True) == LocalSource(Path("owner/name/a.safetensors"))
    assert source("owner/name") == HubSource("owner/name")


def test_a_door_without_paths_does_not_tell_what_is_there(tmp_path: Path) -> None:
    there = tmp_path / "there.safetensors"
    there.write_bytes(adapter())
    sentences = []
    for path in (there, tmp_path / "away.safetensors", tmp_path):
        with pytest.raises(InputError) as caught:
            source(str(path))
        sentences.append(str(caught.value).partition(", not ")[0])
    assert len(set(sentences)) == 1


def test_folders_without_one_adapter(tmp_path: Path) -> None:
    def says(sentence: str) -> None:
        with pytest.raises(InputError, match=f"^lora_name_or_path: '{tmp_path}' {sentence}"):
            source(str(tmp_path), allow_local=True)

    says(r"holds no .safetensors file\.$")
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(b"x")
    says("holds no .safetensors file; pytorch_lora_weights.bin may run code when it is opened, so it is not")
    for name in "abcdefg":
        (tmp_path / f"{name}.safetensors").write_bytes(adapter())
    says(r"holds 7 adapters; add the name of one: a.safetensors, .*, e.safetensors, \.\.\.\.$")


@pytest.mark.parametrize(
    ("name", "says"), [("a.txt", "is no .safetensors file"), ("a.pt", "is a pickle, which may run code")]
)
def test_files_of_another_kind(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=says):
        source(str(tmp_path / name), allow_local=True)


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    for name in (str(tmp_path / "away"), "~nobody_of_this_name/x", "away.safetensors", "\0"):
        with pytest.raises(InputError, match="a file or folder that exists, or none, not "):
            source(name, allow_local=True)
    gone = LocalSource(tmp_path / "gone.safetensors")
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        provide_adapter(gone, tmp_path)


def test_judging_needs_neither_torch_nor_the_hub() -> None:
    program = (
        "import sys; from acestep.v1.adapter_source import judge_adapter; "
        f"judge_adapter({RAP!r}, 1, allow_local=False); "
        "print([name for name in ('torch', 'huggingface_hub', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout == "[]\n"


# URLs

FILE = "/a.safetensors"
SMALL = FetchLimits(max_bytes=100_000, total_s=1.0, silence_s=0.5, redirects=2)
OK = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileHost]:
    """An allowed https host, on loopback."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("ACESTEP_LORA_HOSTS", "127.0.0.1")
    with hosting({FILE: answering(body=adapter())}) as running:
        running.speak_tls()
        yield running


def secure(host: FileHost, path: str = FILE) -> str:
    return host.url(path).replace("http:", "https:")


def fetching(**differs: object) -> Fetching:
    return Fetching(**{"allow_private": True, "limits": SMALL} | differs)  # type: ignore[arg-type]


def test_a_url_is_fetched_once_and_its_secret_is_written_nowhere(host: FileHost, tmp_path: Path) -> None:
    wanted = source(f"{secure(host)}?token={SECRET}")
    brought = provide_adapter(wanted, tmp_path, fetching())
    assert brought.path.read_bytes() == adapter()
    assert brought.source == secure(host)
    assert brought.sha256 == hashlib.sha256(adapter()).hexdigest()
    assert host.paths == [f"{FILE}?token={SECRET}"]
    assert provide_adapter(wanted, tmp_path, fetching()) == brought
    assert provide_adapter(wanted, tmp_path, fetching(allowed=False)) == brought
    assert len(host.paths) == 1
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.name for path in kept} == {"adapter.safetensors", MARKER}
    assert not any(SECRET.encode() in path.read_bytes() or SECRET in str(path) for path in kept)


def test_a_file_damaged_later_is_fetched_again(host: FileHost, tmp_path: Path) -> None:
    brought = provide_adapter(source(secure(host)), tmp_path, fetching())
    brought.path.write_bytes(adapter()[:-1])
    assert provide_adapter(source(secure(host)), tmp_path, fetching()).path.read_bytes() == adapter()
    assert len(host.paths) == 2


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({FILE: answering(404)}, "the URL was answered with 404"),
        ({FILE: answering(body=b"PK\x03\x04" + bytes(99))}, "'https://.*' is a pickle, which is never loaded"),
        ({FILE: answering(body=b"<html>sign in</html>")}, "'https://.*' is a web page"),
        ({FILE: answering(body=adapter()[:-10])}, "'https://.*' is cut short"),
        ({FILE: answering(body=adapter(), Content_Length="9999")}, "the URL ended before the whole file"),
        ({FILE: answering(body=b"x", Content_Length="100001")}, "the URL leads to more than 0.095"),
        ({FILE: dripping(OK, bytes(20_000), 0.0)}, "the URL leads to more than 0.095"),
        ({FILE: dripping(OK, b"x")}, "the URL took longer than 1 s"),
        ({FILE: dripping(OK, b"", 0.5)}, "the URL cannot be downloaded"),
        ({FILE: redirecting(FILE)}, "the URL is redirected more than 2 times"),
    ],
    ids=["404", "pickle", "page", "cut", "dropped", "announced", "endless", "slow", "silent", "round"],
)
def test_what_does_not_arrive_whole_is_not_kept(
    host: FileHost, tmp_path: Path, answers: Mapping[str, object], says: str
) -> None:
    host.answers |= answers
    started = time.monotonic()
    with pytest.raises(InputError, match=f"^lora_name_or_path: {says}") as caught:
        provide_adapter(source(f"{secure(host)}?{SECRET}"), tmp_path, fetching())
    assert time.monotonic() - started < 8
    assert SECRET not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    host.answers[FILE] = answering(body=adapter(1))
    assert provide_adapter(source(f"{secure(host)}?{SECRET}"), tmp_path, fetching()).path.read_bytes() == adapter(1)


def test_private_addresses_get_no_connection(host: FileHost, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the URL leads to '127.0.0.1', which is not an address on the public inter"):
        provide_adapter(source(secure(host)), tmp_path, fetching(allow_private=False))
    assert host.connections == 0


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("http://127.0.0.1:{port}/a.safetensors", "is redirected to a plain http: address"),
        ("https://localhost:{port}/a.safetensors", "leads to 'localhost'; adapters come from"),
        ("//example.com/a.safetensors", "leads to 'example.com'; adapters come from"),
        ("file:///etc/hostname", "must begin with https"),
    ],
)
def test_every_redirect_is_judged_before_it_is_followed(
    host: FileHost, tmp_path: Path, location: str, says: str
) -> None:
    host.answers["/moved.safetensors"] = redirecting(location.format(port=host.server_port))
    with pytest.raises(InputError, match=f"^lora_name_or_path: the URL {says}"):
        provide_adapter(source(secure(host, "/moved.safetensors")), tmp_path, fetching())
    assert host.paths == ["/moved.safetensors"]
    host.answers["/moved.safetensors"] = redirecting(secure(host))
    assert provide_adapter(source(secure(host, "/moved.safetensors")), tmp_path, fetching()).path.is_file()


def test_without_downloads_a_url_says_what_to_do(host: FileHost, tmp_path: Path) -> None:
    wanted = source(secure(host))
    with pytest.raises(
        WeightsError, match=f"is not in {tmp_path}/loras/url-.* and downloads are off; allow"
    ) as caught:
        provide_adapter(wanted, tmp_path, fetching(allowed=False))
    assert host.connections == 0
    assert str(tmp_path / wanted.folder) in str(caught.value)


def test_a_full_disk_is_not_the_fault_of_who_asked(host: FileHost, tmp_path: Path) -> None:
    host.answers[FILE] = answering(body=adapter(size=80))
    with disk_with_room_for(10_000), pytest.raises(OutputError, match="cannot write a received file"):
        provide_adapter(source(secure(host)), tmp_path, fetching())
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="^The weights folder .* cannot be used: Not a directory"):
        provide_adapter(source(secure(host)), tmp_path / "file", fetching())


def test_adapters_used_longest_ago_make_room(host: FileHost, tmp_path: Path) -> None:
    def bring(number: int, room: int = 10**9) -> Path:
        host.answers[f"/{number}.safetensors"] = answering(body=adapter(number))
        return provide_adapter(source(secure(host, f"/{number}.safetensors")), tmp_path, fetching(room=room)).path

    by_hand = tmp_path / "loras" / "owner--name" / "a.safetensors"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(adapter())
    one, two, three = (bring(number) for number in (1, 2, 3))
    for age, path in ((300, one), (200, two), (100, three)):
        os.utime(path.parent / MARKER, (time.time() - age,) * 2)
    assert bring(1) == one  # used again
    held = sum(path.stat().st_size for path in one.parent.iterdir())
    four = bring(4, room=3 * held + 100)
    assert [path.exists() for path in (one, two, three, four, by_hand)] == [True, False, True, True, True]
    five = bring(5, room=0)
    assert [path.exists() for path in (one, two, three, four, five, by_hand)] == [False] * 4 + [True] * 2


# The hub

NAMED = "pytorch_lora_weights.safetensors"
BRING = """
import json, sys
from dataclasses import replace
from pathlib import Path
from acestep.errors import AceStepError
from acestep.net.fetch import FetchLimits
from acestep.v1.adapter_files import Fetching, provide_adapter
from acestep.v1.adapter_source import judge_adapter
calls = []
limits = FetchLimits(max_bytes=int(sys.argv[3]), total_s=float(sys.argv[4]))
fetching = Fetching(allowed=sys.argv[5] == "True", limits=limits, watch=lambda: calls.append(0))
try:
    found = provide_adapter(judge_adapter(sys.argv[1], 1, allow_local=False).source, Path(sys.argv[2]), fetching)
    print(json.dumps({"source": found.source, "path": str(found.path), "sha256": found.sha256, "calls": len(calls)}))
except AceStepError as error:
    print(json.dumps({"error": type(error).__name__, "says": str(error), "field": getattr(error, "field", "")}))
print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        yield served


def publish(hub: FakeHub, name: str, files: Mapping[str, bytes]) -> Repository:
    repository = hub.repositories[name] = Repository(dict(files))
    return repository


def bring(
    endpoint: FakeHub | str,
    root: Path,
    name: str = "owner/name",
    *,
    before: str = "",
    max_bytes: int = 10**6,
    total_s: float = 60.0,
    allowed: bool = True,
    **differs: str,
) -> dict[str, str]:
    """``provide_adapter`` in a process of its own, as downloads are tested everywhere."""
    words = [name, str(root), str(max_bytes), str(total_s), str(allowed)]
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{BRING}", *words],
        env=environment(endpoint if isinstance(endpoint, str) else endpoint.endpoint, **differs),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert done.stderr == "False\n"
    return json.loads(done.stdout)


def refused(answer: dict[str, str], kind: str = "InputError") -> str:
    assert answer.get("error") == kind, answer
    assert (answer["field"] == "lora_name_or_path") == (kind == "InputError")
    return answer["says"]


def test_a_hub_id_is_fetched_once_and_its_commit_recorded(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {NAMED: adapter(), "other.safetensors": adapter(1), "README.md": b"x"})
    found = bring(hub, tmp_path, HF_TOKEN=TOKEN)
    folder = tmp_path / "loras" / "owner--name"
    assert found["path"] == str(folder / NAMED)
    assert found["source"] == f"owner/name@{UNPINNED_COMMIT}"
    assert found["sha256"] == hashlib.sha256(adapter()).hexdigest()
    assert int(found["calls"]) > 0
    assert {path.name for path in folder.iterdir()} == {NAMED, MARKER}
    requests = len(hub.seen)
    again = bring(CLOSED, tmp_path, allowed=False, HF_HUB_OFFLINE="1")
    assert again == found | {"calls": 0}
    assert len(hub.seen) == requests
    assert {seen.authorization for seen in hub.seen if seen.origin == "cdn"} == {None}


def test_the_recorded_name_can_be_asked_for_and_means_the_same(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {"x/a.safetensors": adapter(1), NAMED: adapter()})
    found = bring(hub, tmp_path, "owner/name/x/a.safetensors")
    assert Path(found["path"]).read_bytes() == adapter(1)
    again = bring(hub, tmp_path, found["source"])
    assert (again["source"], again["sha256"]) == (found["source"], found["sha256"])
    hub.repositories["owner/name"].commit = COMMIT
    assert "has no revision" in refused(bring(hub, tmp_path / "new", found["source"]))
    assert bring(hub, tmp_path, "owner/name/x/a.safetensors") == found | {"calls": 0}  # stays where it was


def test_the_only_file_is_taken_with_the_settings_that_belong_to_it(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {"adapter_model.safetensors": adapter(), "adapter_config.json": b"{}", "x.py": b""})
    found = bring(hub, tmp_path)
    assert Path(found["path"]).name == "adapter_model.safetensors"
    assert (Path(found["path"]).parent / "adapter_config.json").read_bytes() == b"{}"
    publish(hub, "owner/other", {"mine.v2.safetensors": adapter(), "adapter_config.json": b"{}"})
    found = bring(hub, tmp_path, "owner/other")
    assert {path.name for path in Path(found["path"]).parent.iterdir()} == {"mine.v2.safetensors", MARKER}


@pytest.mark.parametrize(
    ("files", "name", "says"),
    [
        (
            {"a.safetensors": b"", "b.safetensors": b""},
            "owner/name",
            "holds 2 adapters; add the name of one: a.safet",
        ),
        ({"x/a.safetensors": b""}, "owner/name", "holds no .safetensors file."),
        ({"a.bin": b"", "b.pt": b""}, "owner/name", "holds no .safetensors file; a.bin, b.pt may run code when"),
        ({}, "owner/name", "holds no .safetensors file."),
        ({NAMED: b""}, "owner/name/b.safetensors", "'owner/name' has no file 'b.safetensors'."),
        ({NAMED: b""}, "owner/missing", "has no repository owner/missing"),
        ({NAMED: b""}, f"owner/name@{COMMIT}", f"has no revision {COMMIT}"),
        ({NAMED: bytes(1_000_001)}, "owner/name", "'owner/name' has more than 0.953674 MiB"),
    ],
    ids=["several", "below", "pickles", "nothing", "file", "repository", "commit", "size"],
)
def test_what_the_hub_does_not_have(
    hub: FakeHub, tmp_path: Path, files: dict[str, bytes], name: str, says: str
) -> None:
    publish(hub, "owner/name", files)
    sentence = refused(bring(hub, tmp_path, name))
    assert sentence.startswith("lora_name_or_path: ")
    assert says in sentence
    assert hub.bytes_sent == 0
    assert not (tmp_path / "loras").exists()


def test_an_adapter_that_not_everybody_may_read(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {NAMED: adapter()}).token = TOKEN
    assert "gives no access to owner/name (HTTP 401)" in refused(bring(hub, tmp_path))
    assert bring(hub, tmp_path, HF_TOKEN=TOKEN)["sha256"] == hashlib.sha256(adapter()).hexdigest()


def test_a_hub_in_trouble_is_not_the_fault_of_who_asked(hub: FakeHub, tmp_path: Path) -> None:
    hub.api_answer = b"<html>log in to the hotel</html>"
    assert "is not that of a model hub" in refused(bring(hub, tmp_path), "WeightsError")


def test_without_the_network_nothing_is_blamed_on_who_asked(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {NAMED: adapter()})
    place = f"'owner/name' is not in {tmp_path}/loras/owner--name and"
    assert f"{place} HF_HUB_OFFLINE is set; " in refused(bring(hub, tmp_path, HF_HUB_OFFLINE="1"), "WeightsError")
    assert f"{place} downloads are off; " in refused(bring(hub, tmp_path, allowed=False), "WeightsError")
    assert "the connection to 127.0.0.1 failed" in refused(bring(CLOSED, tmp_path), "HubUnreachableError")
    assert hub.seen == []


@pytest.mark.parametrize("name", ["mine.safetensors", NAMED])
def test_a_folder_filled_by_hand_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "loras" / "owner--name"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(adapter())
    found = bring(CLOSED, tmp_path, allowed=False)
    assert found == {
        "source": "owner/name",
        "path": str(folder / name),
        "sha256": hashlib.sha256(adapter()).hexdigest(),
        "calls": 0,
    }


def test_half_a_file_is_never_taken(hub: FakeHub, tmp_path: Path) -> None:
    data = adapter(size=600)  # several pieces
    publish(hub, "owner/name", {NAMED: data})
    hub.once[NAMED].append(Fault(drop_after=1_500_000))
    hub.always[NAMED] = Fault(drop_after=0)
    says = refused(bring(hub, tmp_path, before=IMPATIENT, max_bytes=10**7), "HubUnreachableError")
    assert "what has arrived is kept" in says
    assert "is not in" in refused(bring(hub, tmp_path, allowed=False), "WeightsError")
    del hub.always[NAMED]
    found = bring(hub, tmp_path, max_bytes=10**7)
    assert Path(found["path"]).read_bytes() == data
    assert hub.bodies(NAMED)[-1].range is not None  # it went on where it stopped


def test_a_hub_that_is_too_slow(hub: FakeHub, tmp_path: Path) -> None:
    publish(hub, "owner/name", {NAMED: adapter()})
    says = refused(bring(hub, tmp_path, total_s=0.0))
    assert says == (
        "lora_name_or_path: 'owner/name' took longer than 0 s to download; what has arrived is kept, so try again."
    )
    assert bring(hub, tmp_path)["sha256"] == hashlib.sha256(adapter()).hexdigest()
