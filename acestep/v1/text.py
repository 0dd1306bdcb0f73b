"""Tags become embeddings: UMT5 reads the prompt of a v1 song, plainly or with two of its layers weakened.

In: the prompt, then its token ids. Out: ids with their end marker, ``[B, T, 768]`` states. Refuses to know where
weights lie and what the states are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from tokenizers import Tokenizer
from torch import Tensor, nn

from acestep.conditioning.text import made_plain
from acestep.constants import CAPTION_TOKENS_MAX
from acestep.errors import InputError, WeightsError
from acestep.v1.layers import WEAKENED

END, UNKNOWN = "</s>", "<unk>"


class TagTokenizer:
    """Turns a prompt into ids as the published tokenizer does, except that a prompt cannot hold control tokens.

    Args:
        tokenizer: whose vocabulary holds ``</s>``.

    Raises:
        WeightsError: the vocabulary lacks the end marker.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._end = made_plain(tokenizer, END, "tags")
        added = tokenizer.get_added_tokens_decoder()
        self._control = {
            id_: token.content for id_, token in added.items() if token.special and token.content != UNKNOWN
        }
        self._tokenizer = tokenizer

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return self._tokenizer.get_vocab_size()

    def __call__(self, text: str) -> tuple[int, ...]:
        """Ids of a prompt and its end marker; of an empty prompt the end marker alone.

        Raises:
            InputError: more than 256 of them (upstream drops the rest unseen), or a control token such as ``</s>``
                is spelled out in the prompt: a unigram vocabulary has no other way to read it.
        """
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        self._check(ids)
        return (*ids, self._end)

    def _check(self, ids: Sequence[int]) -> None:
        control = next((self._control[one] for one in ids if one in self._control), None)
        if control is not None:
            raise InputError(
                f"Tokenization error: caption holds {control}, which is a control token; remove it.",
                field="caption",
                value=control,
            )
        count = len(ids) + 1  # with the end marker
        if count > CAPTION_TOKENS_MAX:
            raise InputError(
                f"Tokenization error: caption makes {count} tokens, the model reads at most {CAPTION_TOKENS_MAX}; "
                f"shorten it by about {count - CAPTION_TOKENS_MAX} tokens.",
                field="caption",
                value=count,
            )


class TagEncoder(nn.Module):
    """The encoder half of UMT5, with the weakening that entropy-rectifying guidance asks of it.

    Args:
        network: transformers' ``UMT5EncoderModel`` or one of the same module names.
        erg_layers: indices of the blocks whose queries are multiplied by 0.01 when a prompt is read weakly.

    Raises:
        WeightsError: the network has no such block.
    """

    def __init__(self, network: nn.Module, erg_layers: Sequence[int]) -> None:
        super().__init__()
        blocks = network.encoder.block
        if not all(0 <= layer < len(blocks) for layer in erg_layers):
            raise WeightsError(
                f"erg_tag_layers {list(erg_layers)} are to be weakened, the network has {len(blocks)}."
            )
        self.network = network
        self._queries = tuple(blocks[layer].layer[0].SelfAttention.q for layer in erg_layers)

    def forward(self, ids: Tensor, mask: Tensor, *, weaken: bool = False) -> Tensor:
        """Last hidden states.

        Args:
            ids: ``[B, T]`` token ids, padded on the right.
            mask: ``[B, T]``, true at tokens; what is not is seen by no token, and its own state means nothing.
            weaken: read it weakly. Positional biases come after the queries, so these layers keep them.

        Returns:
            ``[B, T, D]`` in the type of the weights.
        """
        with _scaled(self._queries if weaken else (), WEAKENED):
            return self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # [B, T] -> [B, T, D]


@contextmanager
def _scaled(modules: Iterable[nn.Module], factor: float) -> Iterator[None]:
    """Multiply what ``modules`` return by ``factor`` for the length of the block."""
    hooks = [module.register_forward_hook(lambda _module, _given, out: out * factor) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
