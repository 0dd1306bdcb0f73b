"""Waveforms: reading, resampling, measuring, limiting (numpy ``[channels, S]`` float32); the latent codec (torch).

Import the module you need; nothing is re-exported, so a reader of numbers never loads torch.
"""
