"""Numbers that both training and measuring need, without importing PyTorch."""

# Confidence is the chance that the depth, up to a scale of the whole picture, is off by less than this (0.1: about 10 %).
CONFIDENCE_TOLERANCE = 0.1
# How a picture is fed, as the registry says too.
MEAN, STD = 0.5, 0.25
