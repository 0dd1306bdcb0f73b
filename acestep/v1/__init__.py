"""ACE-Step v1-3.5B, the first family: what is particular to it, and nothing that both families share.

In: requests that the shared code has judged, and the files of a v1 checkpoint. Out: latents, and sound at 44.1 kHz.
Refuses to know the doors, saving and the second family. Nothing outside this folder imports it before a v1 model is
asked for, so a machine without the extra ``v1`` plays ACE-Step 1.5.
"""
