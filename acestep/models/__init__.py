"""The networks. Every file here knows tensors and sizes only: no files, tasks, seconds, devices or logging."""
