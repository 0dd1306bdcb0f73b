"""Log-probabilities of vLLM are the reference's, also where a text is scored in several steps."""

from __future__ import annotations

import pytest
import torch
from vllm_support import LONG, asks_of_every_kind, guided_codes

from acestep.errors import InputError
from acestep.planner.backends.pt import PtBackend
from acestep.planner.backends.vllm import VllmBackend


def test_scores_are_the_references(backend: VllmBackend, reference: PtBackend) -> None:
    asks = asks_of_every_kind()
    prompts, answers = [ask.prompt for ask in asks], [answer.tokens for answer in reference.complete(asks)]
    ours, theirs = backend.score(prompts, answers), reference.score(prompts, answers)
    for one, other in zip(ours, theirs, strict=True):
        assert one.log_probs.shape == one.ranks.shape == other.log_probs.shape
        assert (one.log_probs.dtype, one.ranks.dtype) == (torch.float32, torch.int64)
        torch.testing.assert_close(one.log_probs, other.log_probs, rtol=0, atol=1e-4)
        swapped = int((one.ranks != other.ranks).sum())  # tokens that are as likely as others, but for rounding
        assert swapped <= 0.02 * len(one.ranks)


def test_a_whole_context_is_scored(backend: VllmBackend, reference: PtBackend) -> None:
    text = backend.vocabulary.text(LONG * 11)[:2048]
    ours, theirs = backend.score([text[:3]], [text[3:]])[0], reference.score([text[:3]], [text[3:]])[0]
    assert ours.log_probs.shape == (2045,)
    assert (ours.log_probs - theirs.log_probs).abs().max() <= 1e-4


def test_scoring_leaves_long_prompts_whole(backend: VllmBackend) -> None:
    songs = guided_codes(2, words=LONG * 4)
    before = backend.complete(songs)
    assert len(songs[0].prompt) > 256
    backend.score([songs[0].prompt], [before[0].tokens])
    assert backend.complete(songs) == before


def test_a_text_beyond_the_context_is_refused_before_any_is_scored(backend: VllmBackend) -> None:
    with pytest.raises(InputError, match="2000 tokens and its answer up to 49, 2049 together, .* holds 2048"):
        backend.score([(1, 2), (1,) * 2000], [(3,), (1,) * 49])
    assert backend.score([(1, 2)], [()])[0].log_probs.shape == (0,)
