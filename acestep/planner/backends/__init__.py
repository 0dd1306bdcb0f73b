"""The engines that answer an `Ask`: ``pt`` is the reference, the others are as right and faster."""
