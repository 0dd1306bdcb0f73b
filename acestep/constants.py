"""Facts of ACE-Step that several stages share: rates, ranges, vocabularies. Derived values are computed, never typed.

Refuses to know tasks (``tasks.py``), models (``checkpoints/registry.py``) and anything of torch.
"""

from __future__ import annotations

from itertools import product
from math import prod

# --- Audio and latent rates -------------------------------------------------------------------------------------
SAMPLE_RATE = 48_000  # Hz, what the Oobleck VAE was trained on
CD_RATE = 44_100  # Hz, the other rate of files, and what ACE-Step v1 was trained on
AUDIO_CHANNELS = 2
VAE_STRIDES = (2, 4, 4, 6, 10)
SAMPLES_PER_FRAME = prod(VAE_STRIDES)  # 1920
LATENT_RATE = SAMPLE_RATE // SAMPLES_PER_FRAME  # 25 latent frames per second
LATENT_CHANNELS = 64
FRAMES_PER_CODE = 5
CODE_RATE = LATENT_RATE // FRAMES_PER_CODE  # 5 semantic codes per second
TIMBRE_SECONDS = 30
TIMBRE_FRAMES = TIMBRE_SECONDS * LATENT_RATE  # 750

# --- Ranges of a request ----------------------------------------------------------------------------------------
DURATION_MIN_S, DURATION_MAX_S = 10.0, 600.0
DURATION_DEFAULT_S = 30.0  # an instrumental whose length nobody decided
BPM_MIN, BPM_MAX = 30, 300
BATCH_MAX = 8
SEED_MAX = 2**32 - 1
CAPTION_CHARS_ADVISED = 512
CAPTION_TOKENS_MAX = 256
LYRICS_TOKENS_MAX = 2048

# --- Vocabularies -----------------------------------------------------------------------------------------------
LANGUAGES = tuple(
    "ar az bg bn ca cs da de el en es fa fi fr he hi hr ht hu id is it ja ko la lt ms ne nl no pa pl pt ro ru sa sk "
    "sr sv sw ta te th tl tr uk ur vi yue zh unknown".split()
)
TIME_SIGNATURES = ("2", "3", "4", "6")
NOTES = tuple("ABCDEFG")
ACCIDENTALS = ("", "#", "b", "♯", "♭")
MODES = ("major", "minor")
KEYSCALES = tuple(f"{note}{accidental} {mode}" for note, accidental, mode in product(NOTES, ACCIDENTALS, MODES))
TRACK_NAMES = tuple(
    "woodwinds brass fx synth strings percussion keyboard guitar bass drums backing_vocals vocals".split()
)
INSTRUMENTAL_LYRICS = "[Instrumental]"
