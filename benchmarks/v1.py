"""A step of ACE-Step v1 as we run it against the same step as it is usually written, on the same random weights.

``python -m benchmarks.v1 --seconds 10`` builds the transformer at its published size, without the parts that read
words, and prints one JSON line: seconds of a guided and of a plain step, written plainly / ours; what the ratio of
sixty steps follows to, half of which are guided; how far the velocities of both are apart. Runs are interleaved; each
figure is the median of ``--repeats``. In bf16 it takes about 6 GB.

*Written plainly*: guidance runs its two conditions one after another; every step projects the context to keys and
values and turns them; the attention gets a mask although nothing is masked; blurred layers blur the self-attention
too, which cancels out; the feed-forward is three convolutions. *Ours* is ``v1.denoise`` under ``v1.guidance``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST
from acestep.devices import CPU, CUDA, DTYPES
from acestep.params import GenerationParams
from acestep.sampling.guidance import AdaptiveProjected
from acestep.v1.choice import V1Choice, choose_v1
from acestep.v1.conditions import Contexts
from acestep.v1.config import LATENT_HEIGHT, TransformerConfig
from acestep.v1.denoise import Denoiser
from acestep.v1.guidance import GuidedSteps
from acestep.v1.layers import EPS, WEAKENED, Attention, FeedForward, Rotary
from acestep.v1.layout import latents_of, rows_of
from acestep.v1.length import NATIVE_RATE, SAMPLES_PER_FRAME
from acestep.v1.transformer import Block, Transformer

WORD_PARTS = ("genre_embedder", "lyric_embs", "lyric_encoder", "lyric_proj")  # read once a song, so left out
HALF_MAX = 65_504.0
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Run = Callable[[], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tags", type=int, default=40, help="tokens of the prompt")
    parser.add_argument("--lyrics", type=int, default=400, help="tokens of the lyrics")
    parser.add_argument("--songs", type=int, default=1)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--device", choices=(CPU, CUDA), default=CPU)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a shared machine, with --threads 1")
    parser.add_argument("--layers", type=int, default=24, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        print(json.dumps({"benchmark": "v1"} | vars(arguments) | measure(arguments)))


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Seconds of both, their ratios, and how far their velocities are apart."""
    device, dtype = torch.device(arguments.device), DTYPES[arguments.dtype]
    torch.manual_seed(0)
    transformer = random_transformer(arguments.layers, dtype, device)
    contexts = random_contexts(1 + arguments.tags + arguments.lyrics, transformer.config, dtype, device)
    frames = int(arguments.seconds * NATIVE_RATE / SAMPLES_PER_FRAME)  # as the published pipeline counts them
    rows = LATENT_HEIGHT * frames
    state = torch.randn(arguments.songs, rows, transformer.config.in_channels).to(device)
    choice = default_choice()
    guided, plain = choice.schedule[choice.window[0]], choice.schedule[0]
    ours = GuidedSteps(Denoiser(transformer, contexts, weaken=choice.weaken_diffusion), choice)
    theirs = Plain(transformer, contexts, choice)
    guided_s = interleaved(
        {"ours": lambda: ours.predict(state, guided), "plainly": lambda: theirs.guided(state, guided)},
        arguments.repeats,
        CLOCKS[arguments.clock],
    )
    plain_s = interleaved(
        {"ours": lambda: ours.predict(state, plain), "plainly": lambda: theirs.conditional(state, plain)},
        arguments.repeats,
        CLOCKS[arguments.clock],
    )
    return {
        "frames": frames,
        "guided_step_s": guided_s,
        "plain_step_s": plain_s,
        "sixty_steps_ratio": round(_sixty(guided_s, plain_s, "plainly") / _sixty(guided_s, plain_s, "ours"), 3),
        "apart": apart(ours.predict(state, plain), theirs.conditional(state, plain)),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def default_choice() -> V1Choice:
    """What a request without wishes gets, granularity aside."""
    spec = next(spec for spec in MODELS.values() if spec.variant.generation is FIRST)
    return choose_v1(GenerationParams(inference_steps=None, guidance_scale=None, omega_scale=0.0), spec)[0]


def random_transformer(layers: int, dtype: torch.dtype, device: torch.device) -> Transformer:
    """A transformer of the published widths without memory for what reads words, random numbers of a usual size."""
    config = TransformerConfig.published()
    blurred = tuple(layer for layer in config.erg_diffusion_layers if layer < layers)
    with torch.device("meta"):
        transformer = Transformer(replace(config, num_layers=layers, erg_diffusion_layers=blurred))
    for name, part in transformer.named_children():
        if name not in WORD_PARTS:
            part.to(dtype).to_empty(device=device)
            for parameter in part.parameters():
                nn.init.normal_(parameter, std=0.02)
    return transformer.eval().requires_grad_(False)


def random_contexts(tokens: int, config: TransformerConfig, dtype: torch.dtype, device: torch.device) -> Contexts:
    """Two conditions of one set of words, every token real."""
    states = torch.randn(2, tokens, config.inner_dim).to(device, dtype)
    return Contexts(states, torch.ones(2, tokens, dtype=torch.bool, device=device))


class Plain:
    """The same network on the same weights, written plainly."""

    def __init__(self, transformer: Transformer, contexts: Contexts, choice: V1Choice) -> None:
        self._net, self._contexts, self._choice = transformer, contexts, choice
        self._guidance = AdaptiveProjected(choice.guidance_scale)

    def guided(self, x: Tensor, t: float) -> Tensor:
        """A guided velocity: one condition after the other, then adaptive projected guidance."""
        negative = self._velocity(x, t, 1, blurred=self._choice.weaken_diffusion)
        return self._guidance.combine(x, self.conditional(x, t), negative, t, [x.shape[1]] * len(x))

    def conditional(self, x: Tensor, t: float) -> Tensor:
        """The velocity under tags and lyrics."""
        return self._velocity(x, t, 0, blurred=False)

    def _velocity(self, x: Tensor, t: float, row: int, *, blurred: bool) -> Tensor:
        net, songs = self._net, len(x)
        context = self._contexts.states[row].expand(songs, -1, -1)
        tokens = net.proj_in(latents_of(x).to(context.dtype))  # [B, F, D]
        level = torch.full((songs,), t, dtype=torch.float32, device=x.device)
        embedded = net.timestep_embedder(level)
        time = net.t_block(embedded).unflatten(-1, (6, 1, -1))  # [B, 6, 1, D]
        rotary = [Rotary.of(length, net.config, tokens) for length in (tokens.shape[1], context.shape[1])]
        allowed = tokens.new_zeros(songs, net.config.num_attention_heads, tokens.shape[1], context.shape[1])
        for layer, block in enumerate(net.transformer_blocks):
            strength = WEAKENED if blurred and layer in net.config.erg_diffusion_layers else 1.0
            tokens = _block(block, tokens, time, context, rotary, allowed, strength)
        return rows_of(net.final_layer(tokens, embedded)).float()


def _block(
    block: Block,
    x: Tensor,
    time: Tensor,
    context: Tensor,
    rotary: list[Rotary],
    allowed: Tensor,
    strength: float,
) -> Tensor:
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (block.scale_shift_table[None, :, None] + time).unbind(1)
    normed = functional.rms_norm(x, x.shape[-1:], None, EPS)
    x = x + gate_a * _self_attention(block.attn, normed * (1 + scale_a) + shift_a, rotary[0], strength)
    x = x + _cross_attention(block.cross_attn, x, context, rotary, allowed, strength)
    normed = functional.rms_norm(x, x.shape[-1:], None, EPS)
    return x + gate_m * _feed_forward(block.ff, normed * (1 + scale_m) + shift_m)


def _self_attention(attention: Attention, x: Tensor, rotary: Rotary, strength: float) -> Tensor:
    """Linear attention whose normaliser is one more channel of the values."""
    q, k, v = (attention.split(layer(x)) for layer in (attention.to_q, attention.to_k, attention.to_v))
    q, k = (rotary.turn(part).to(x.dtype) for part in (q * strength, k))
    q, k, v = (part.mT.float() for part in (q.relu(), k.relu(), v))  # [B, H, d, F]
    mixed = (functional.pad(v, (0, 0, 0, 1), value=1.0) @ k.mT) @ q  # [B, H, d + 1, F]
    mixed = (mixed[:, :, :-1] / (mixed[:, :, -1:] + 1e-15)).to(x.dtype)
    return attention.to_out(mixed.flatten(1, 2).mT).clamp(-HALF_MAX, HALF_MAX)


def _cross_attention(
    attention: Attention, x: Tensor, context: Tensor, rotary: list[Rotary], allowed: Tensor, strength: float
) -> Tensor:
    q = rotary[0].turn(attention.split(attention.to_q(x) * strength)).to(x.dtype)
    k = rotary[1].turn(attention.split(attention.to_k(context))).to(x.dtype)
    v = attention.split(attention.to_v(context))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    return attention.to_out(mixed.transpose(1, 2).flatten(2))


def _feed_forward(ff: FeedForward, x: Tensor) -> Tensor:
    wide = functional.silu(ff.inverted_conv["conv"](x.mT))
    value, gate = ff.depth_conv["conv"](wide).chunk(2, dim=1)
    return ff.point_conv["conv"](value * functional.silu(gate)).mT


def interleaved(runs: dict[str, Run], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of every run after one each to warm up, taken in turns, and their ratio."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + repeats):
        for name, run in runs.items():
            start = clock()
            wait_for(run())
            taken[name].append(clock() - start)
    figures = {name: round(statistics.median(seconds[1:]), 4) for name, seconds in taken.items()}
    return figures | {"ratio": round(figures["plainly"] / figures["ours"], 3)}


def wait_for(output: Tensor) -> None:
    """Return when a GPU has finished ``output``; a CPU has already."""
    if output.is_cuda:
        torch.cuda.synchronize(output.device)


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of two velocities, as a share of the largest of them."""
    return round(((ours - theirs).abs().max() / theirs.abs().max()).item(), 6)


def _sixty(guided: dict[str, float], plain: dict[str, float], who: str) -> float:
    return 30 * guided[who] + 30 * plain[who]


if __name__ == "__main__":
    main()
